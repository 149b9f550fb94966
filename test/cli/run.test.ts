import { describe, expect, it } from 'vitest';
import { command } from '../../src/cli/command.js';
import { commands } from '../../src/cli/commands/index.js';
import { endingOf } from '../../src/cli/errors.js';
import { exitCodeOf, exitCodes } from '../../src/cli/exit_codes.js';
import { type ErrorCode, TrainMoeError } from '../../src/errors.js';
import { commandLine } from './command_line.js';

/** The words that name the commands; the default command has none. */
const names = commands.map(({ command: name }) => String(name).split(' ')[0]!).filter((name) => name !== '$0');

/** A command that throws what it is given. */
function throwing(error: unknown) {
  return [
    command({
      command: 'fail',
      describe: 'fails',
      handler: () => {
        throw error;
      },
    }),
  ];
}

describe('the command line', () => {
  it('lists every command in its help', async () => {
    const { code, out } = await commandLine(['--help']);
    expect(code).toBe(0);
    for (const name of names) expect(out).toContain(`train-moe ${name} `);
  });

  it.each(names)('explains %s', async (name) => {
    const { code, out, err } = await commandLine([name, '--help']);
    expect([code, err]).toEqual([0, '']);
    expect(out).toContain(`train-moe ${name}`);
  });

  it.each([
    [['docter'], 'train-moe: There is no command "docter". Did you mean doctor? See train-moe --help.\n'],
    [['xxxxxxxxxxx'], 'train-moe: There is no command "xxxxxxxxxxx". See train-moe --help.\n'],
    [['doctor', '--jsn'], 'train-moe: Unknown argument: jsn. Did you mean --json? See train-moe doctor --help.\n'],
    [
      ['tokenizer', 'enkode'],
      'train-moe: There is no command "enkode". Did you mean encode? See train-moe tokenizer --help.\n',
    ],
    [
      ['config', '--train.stpes', '3'],
      'train-moe: Unknown argument: train.stpes. Did you mean --train.steps? See train-moe config --help.\n',
    ],
    [['sft', '--lora.rank'], 'train-moe: Not enough arguments following: lora.rank. See train-moe sft --help.\n'],
  ])('answers %j with one sentence and exit 2', async (words, sentence) => {
    expect(await commandLine(words)).toEqual({ code: exitCodes.usage, out: '', err: sentence });
  });

  it('takes a default command once there is one, without asking for a name', async () => {
    const quick = command({
      command: '$0',
      describe: 'the default',
      handler: () => void process.stdout.write('ran\n'),
    });
    expect(await commandLine([], [quick])).toEqual({ code: 0, out: 'ran\n', err: '' });
  });

  it('runs the recipe when no command is named', async () => {
    const sentence = 'train-moe: The preset "none" of r1 does not exist; there are micro, v2-lite.\n';
    const outcome = { code: exitCodes.usage, out: '', err: sentence };
    expect(await commandLine(['--preset', 'none'])).toEqual(outcome);
    expect(await commandLine(['r1', '--preset', 'none'])).toEqual(outcome);
  });

  it('returns the exit status that a command sets', async () => {
    const quick = command({
      command: 'set',
      handler: () => {
        process.exitCode = exitCodes.busy;
      },
    });
    expect((await commandLine(['set'], [quick])).code).toBe(exitCodes.busy);
  });
});

describe('errors', () => {
  it('of ours are their sentence and the exit code of their word', async () => {
    const error = new TrainMoeError('busy', 'The run folder is taken.');
    const outcome = await commandLine(['fail'], throwing(error));
    expect(outcome).toEqual({ code: exitCodes.busy, out: '', err: 'train-moe: The run folder is taken.\n' });
  });

  it('have an exit code of their own for every word that a script may act on', () => {
    const words: ErrorCode[] = [
      'bad-argument',
      'bad-config',
      'bad-data',
      'not-found',
      'out-of-memory',
      'no-device',
      'busy',
      'not-finite',
      'internal',
    ];
    expect(words.map(exitCodeOf)).toEqual([2, 2, 7, 8, 4, 3, 6, 5, 1]);
    const numbers = Object.values(exitCodes);
    expect(new Set(numbers).size).toBe(numbers.length);
  });

  it('of the system name the file', () => {
    const missing = Object.assign(new Error('ENOENT'), { code: 'ENOENT', syscall: 'open', path: '/a/b' });
    expect(endingOf(missing)).toEqual({ text: 'train-moe: /a/b does not exist.', code: exitCodes.notFound });
    const full = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'write', path: '/a' });
    expect(endingOf(full).text).toBe('train-moe: /a cannot be written: the disk is full.');
    const other = Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO', syscall: 'read' });
    expect(endingOf(other)).toEqual({ text: 'train-moe: EIO: i/o error, read.', code: exitCodes.failure });
  });

  it('of nobody are called a bug, and say how to see more', () => {
    const { text, code } = endingOf(new RangeError('index 7'));
    expect(text).toMatch(/^train-moe: this is a bug: RangeError: index 7\. .*TRAIN_MOE_DEBUG=1/);
    expect(text).not.toContain('\n');
    expect(code).toBe(exitCodes.failure);
    expect(endingOf('just text').text).toContain('just text');
  });

  it('show their stacks, causes too, when asked', () => {
    const error = new TrainMoeError('bad-data', 'Broken.', { cause: new Error('the root') });
    expect(endingOf(error, false).text).toBe('train-moe: Broken.');
    expect(endingOf(error, true).text).toMatch(/Broken\.\n(.|\n)* at (.|\n)*caused by Error: the root\n(.|\n)* at /);
  });
});
