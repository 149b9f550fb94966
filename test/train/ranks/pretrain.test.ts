import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunConfig } from '../../../src/config/index.js';
import type { TrainMoeError } from '../../../src/errors.js';
import { openSafetensors } from '../../../src/hub/safetensors.js';
import type { TrainEvent } from '../../../src/train/events.js';
import { pretrain, pretrainOnRanks } from '../../../src/train/pretrain.js';
import { gpusOf, type RanksHooks } from '../../../src/train/ranks/launch.js';
import { relativeError } from '../../ops/harness.js';
import { compileProgram, programFolder } from '../run/compile.js';
import { tinyRun } from '../tiny.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
let folder: string;
let program: string;
let cli: string;

beforeAll(() => {
  folder = programFolder('pretrain-ranks', ['build', 'LICENSE', 'native']);
  program = compileProgram('src/train/ranks/rank.ts', folder);
  cli = compileProgram('src/cli/index.ts', folder);
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const TRAIN = { steps: 6, rows: 4, length: 24, optimizer: { lr: 3e-3 }, schedule: { warmup: 2 }, ema: 0.9 } as const;

/** A short run of a name; its vocabulary and shards are kept under the cache of all. */
function run(
  name: string,
  ranks: number,
  over: { readonly train?: object; readonly [key: string]: unknown } = {},
): RunConfig {
  const { train, ...rest } = over;
  return tinyRun(join(folder, name), {
    ranks,
    threads: 1,
    data: { cache: join(folder, 'cache'), validation: 0.2 },
    evaluate: { windows: 6 },
    tokenizer: { path: tokenizer },
    train: { ...TRAIN, ...train },
    save: { every: 0 },
    ...rest,
  });
}
let tokenizer: string;
beforeAll(async () => {
  const first = tinyRun(join(folder, 'vocabulary'), { train: { ...TRAIN, steps: 1 } });
  await pretrain(first);
  tokenizer = join(first.out, 'tokenizer.json');
});

/** Trains, on ranks by the compiled program. */
const trained = (config: RunConfig, hooks: RanksHooks<TrainEvent> = {}) =>
  config.ranks === 1 ? pretrain(config, hooks) : pretrainOnRanks(config, hooks, program);

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error) => error as TrainMoeError,
  );

/** Files of the last checkpoint with their sums. */
function checkpoint({ out }: RunConfig): Record<string, number> {
  const latest = join(out, 'checkpoints', 'latest');
  const files = readdirSync(latest, { recursive: true, encoding: 'utf8' })
    .filter((f) => /\.\w+$/.test(f))
    .sort();
  return Object.fromEntries(files.map((f) => [f, crc32(readFileSync(join(latest, f)))]));
}

function tensorsOf({ out }: RunConfig, name = 'trainer/state.safetensors') {
  const file = openSafetensors(join(out, 'checkpoints', 'latest', name));
  const read = [...file.tensors].map(
    ([key, t]) => [key, { dtype: t.dtype, shape: t.shape, bytes: t.read().slice() }] as const,
  );
  file.close();
  return new Map(read);
}

/** Processes of ranks that this one, or that of `parent`, started. */
function ranksOf(parent = process.pid): { readonly pid: number; readonly rank: number }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
        const seat = /\{"rank":(\d+)/.exec(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
        return Number(fields[1]) === parent && seat ? [{ pid: Number(pid), rank: Number(seat[1]) }] : [];
      } catch {
        return []; // it has ended meanwhile
      }
    });
}

/** What has ended counts as gone, be it that nobody has asked yet how. */
function lives(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

type Losses = readonly (readonly [step: number, loss: number])[];

function expectClose(found: Losses, expected: Losses, bound: number): void {
  expect(found.map(([step]) => step)).toEqual(expected.map(([step]) => step));
  for (const [i, [step, loss]] of found.entries())
    expect(Math.abs(loss / expected[i]![1] - 1), `loss of step ${step}`).toBeLessThan(bound);
}

/** The same tensors with about the same values: moments that were lost, or masters that were rounded, would be further off. */
function expectSameState(found: RunConfig, expected: RunConfig, dtype: 'f32' | 'bf16'): void {
  expect(Object.keys(checkpoint(found))).toEqual(Object.keys(checkpoint(expected)));
  for (const file of ['trainer/state.safetensors', 'model.safetensors', 'ema/model.safetensors']) {
    const [mine, other] = [tensorsOf(found, file), tensorsOf(expected, file)];
    const heads = (all: typeof mine) => [...all].map(([key, { dtype: type, shape }]) => [key, type, shape]);
    expect(heads(mine)).toEqual(heads(other));
    for (const [key, { dtype: type, bytes }] of other) {
      if (type !== 'F32') continue;
      const bound = dtype === 'f32' ? 1e-4 : /^[mv]\./.test(key) ? 5e-2 : 1e-3;
      const [a, b] = [mine.get(key)!.bytes, bytes].map((v) => new Float32Array(v.buffer, v.byteOffset, v.length / 4));
      expect(relativeError(a!, b!), `${file} ${key}`).toBeLessThan(bound);
    }
  }
}

describe.each(['f32', 'bf16'] as const)('a run on several ranks (%s)', (dtype) => {
  const at = (name: string, ranks: number, train: object = {}) =>
    run(`${name}-${dtype}`, ranks, { train: { dtype, ...train } });
  const bound = dtype === 'f32' ? 1e-5 : 2e-3;

  it('is the run of one, in what it finds, tells, writes and saves', async () => {
    const [one, two] = [at('one', 1), at('two', 2)];
    const whole = await trained(one);
    const events: TrainEvent['kind'][] = [];
    const several = await trained(two, { onEvent: ({ kind }) => events.push(kind) });
    expectClose(several.losses, whole.losses, bound);
    const [found, expected] = [several.evaluation!, whole.evaluation!];
    expect(found.tokens).toBe(expected.tokens);
    expect(Math.abs(found.loss / expected.loss - 1)).toBeLessThan(bound);
    expect(found.bitsPerByte! / found.loss).toBeCloseTo(expected.bitsPerByte! / expected.loss, 9);
    const once = events.filter((kind) => kind === 'start' || kind === 'saved' || kind === 'end');
    expect(once).toEqual(['start', 'saved', 'end']);
    const lines = readFileSync(join(two.out, 'metrics.jsonl'), 'utf8').trim().split('\n');
    expect(lines.length, 'a line for each step, and one for the evaluation').toBe(TRAIN.steps + 1);
    expectSameState(two, one, dtype);
  });
});

describe('a run on several ranks', () => {
  it('goes on with another number of ranks', async () => {
    const further = { steps: TRAIN.steps + 3, schedule: { kind: 'constant', warmup: 2 } };
    const begun = { schedule: further.schedule };
    const at = (name: string, ranks: number, train: object) => run(name, ranks, { train: { dtype: 'bf16', ...train } });
    const reference = at('reference', 1, further);
    const { losses } = await trained(reference);
    for (const [name, before, after] of [
      ['grown', 1, 2],
      ['shrunk', 2, 1],
    ] as const) {
      expectClose((await trained(at(name, before, begun))).losses, losses.slice(0, TRAIN.steps), 2e-3);
      expectClose((await trained(at(name, after, further))).losses, losses.slice(TRAIN.steps), 2e-3);
      expectSameState(at(name, after, further), reference, 'bf16');
    }
  });

  it('goes on bit for bit', async () => {
    const at = (name: string, steps: number = TRAIN.steps) =>
      run(name, 2, { train: { dtype: 'bf16', steps, schedule: { kind: 'constant', warmup: 2 } } });
    await trained(at('whole'));
    await trained(at('cut', 2));
    await trained(at('cut'));
    expect(checkpoint(at('cut'))).toEqual(checkpoint(at('whole')));
  });

  it('saves and ends when it is asked to', async () => {
    const config = run('asked', 2, { train: { steps: 100_000 } });
    const end = await trained(config, { shouldStop: () => true });
    expect(end).toMatchObject({ stopped: true, checkpoint: expect.stringContaining('step-') });
    expect(end.step).toBeLessThan(100);
  });

  it('comes to what its listener throws, and saves', async () => {
    const config = run('thrown', 2, { train: { steps: 100_000 } });
    const onEvent = ({ kind }: TrainEvent) => {
      if (kind === 'step') throw new Error('enough');
    };
    expect((await failure(trained(config, { onEvent })))?.message).toBe('enough');
    expect(existsSync(join(config.out, 'checkpoints', 'latest'))).toBe(true);
  });

  it('stops before the update on all ranks when the loss is not finite, told once, and saves the batch', async () => {
    const train = { clip: 1e30, optimizer: { lr: 1e30 }, schedule: { kind: 'constant', warmup: 0 } };
    const config = run('infinite', 2, { train, save: { every: 1, keep: 3 } });
    const error = await failure(trained(config));
    expect(error?.code).toBe('not-finite');
    const step = Number(
      /^Step (\d+): The loss is .*; nothing was updated\. The batch is in /.exec(error!.message)?.[1],
    );
    const batch = JSON.parse(readFileSync(join(config.out, `replay-step-${step}`, 'batch.json'), 'utf8'));
    expect(batch.rows).toBe(TRAIN.rows);
    expect(ranksOf()).toEqual([]);
  });

  it.each([
    [
      'SIGKILL',
      /^Rank 1 \(process \d+\) was ended by SIGKILL .*; run the same command to go on from the last checkpoint\.$/,
    ],
    [
      'SIGSTOP',
      /^Rank 1 \(process \d+, last at "[\w ]+"\) has not come to "[\w ]+" within 6 s: stopped, hanging, or far slower/,
    ],
  ] as const)('names a rank that was lost by %s, and goes on after it', async (signal, sentence) => {
    const config = run(`lost-${signal}`, 2, { train: { steps: 100_000 }, rankTimeout: 6, save: { every: 2, keep: 1 } });
    let sent = false;
    const onEvent = (event: TrainEvent) => {
      if (event.kind !== 'step' || event.step.step < 3 || sent) return;
      sent = true;
      process.kill(ranksOf().find(({ rank }) => rank === 1)!.pid, signal);
    };
    const error = await failure(trained(config, { onEvent }));
    expect(error?.code).toBe('lost-rank');
    expect(error!.message).toMatch(sentence);
    expect(ranksOf()).toEqual([]);
    const end = await trained(config, { shouldStop: () => true });
    expect(end.losses[0]![0], 'goes on from a checkpoint').toBeGreaterThan(2);
  });

  it('tells an error in the preparation as one process does', async () => {
    const config = run('nothing', 2, { data: { sources: [join(folder, 'nowhere')] } });
    expect(await failure(trained(config))).toMatchObject({
      code: 'not-found',
      message: expect.stringMatching(/nowhere does not exist/),
    });
  });

  it('refuses rows that cannot be shared, before anything is made', async () => {
    const uneven = run('uneven', 3);
    expect(await failure(trained(uneven))).toMatchObject({
      code: 'bad-config',
      message: 'train.rows = 4 cannot be shared evenly by 3 ranks; take 3 or 6, or another number of --ranks.',
    });
    expect(existsSync(uneven.out)).toBe(false);
  });

  it('has a GPU for each rank, or says how many there are', () => {
    const none = join(folder, 'no-driver');
    expect(gpusOf({ device: 'cpu', ranks: 2 }, '0,1', none)).toBeUndefined();
    expect(gpusOf({ device: 'auto', ranks: 2 }, undefined, none)).toBeUndefined();
    expect(gpusOf({ device: 'auto', ranks: 2 }, '3, 5,7', none)).toEqual(['3', '5']);
    expect(gpusOf({ device: 'cuda', ranks: 2 }, undefined, none), 'CUDA itself says what is missing').toEqual([
      '0',
      '1',
    ]);
    for (const gpu of ['0000:07:00.0', '0000:08:00.0', '0000:0a:00.0'])
      mkdirSync(join(folder, 'gpus', gpu), { recursive: true });
    const listed = join(folder, 'gpus');
    expect(gpusOf({ device: 'auto', ranks: 3 }, undefined, listed)).toEqual(['0', '1', '2']);
    expect(() => gpusOf({ device: 'auto', ranks: 4 }, undefined, listed)).toThrow(
      '4 ranks need a GPU each, but there are 3; give --ranks 3, or --device cpu.',
    );
    expect(() => gpusOf({ device: 'auto', ranks: 4 }, '0,1', none)).toThrow(
      '4 ranks need a GPU each, but there are 2 that CUDA_VISIBLE_DEVICES=0,1 names; give --ranks 2, or --device cpu.',
    );
  });
});

describe('a run on several ranks in the terminal', () => {
  const start = (out: string) => {
    const flags = ['--preset', 'micro', '--device', 'cpu', '--data', join(root, 'LICENSE'), '--data.validation', '0'];
    const sizes = ['--tokenizer.path', tokenizer, '--train.length', '32', '--train.rows', '2', '--evaluate.every', '0'];
    const words = [
      'pretrain',
      ...flags,
      ...sizes,
      '--steps',
      '100000',
      '--log.every',
      '1',
      '--ranks',
      '2',
      '--out',
      out,
    ];
    return spawn(process.execPath, [cli, ...words], { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  };
  const seen = (child: ChildProcess, text: string) =>
    new Promise<string>((resolve) => {
      let all = '';
      child.stdout!.on('data', (chunk) => {
        all += chunk;
        if (all.includes(text)) resolve(all);
      });
    });
  const ended = (child: ChildProcess) =>
    new Promise<unknown[]>((resolve) => child.on('exit', (code, signal) => resolve([code, signal])));

  it('saves and ends with status 0 at the first Ctrl-C, which all processes get', async () => {
    const out = join(folder, 'interrupted');
    const child = start(out);
    const exit = ended(child);
    expect(await seen(child, 'step 3/')).toMatch(/2 ranks, each on cpu-\w+, 1 thread, /);
    process.kill(-child.pid!, 'SIGINT');
    expect(await exit).toEqual([0, null]);
    expect(readdirSync(join(out, 'checkpoints')).filter((f) => f.startsWith('step-')).length).toBe(1);
  });

  it('is not outlived by its ranks, however it ends', async () => {
    const child = start(join(folder, 'orphans'));
    const exit = ended(child);
    await seen(child, 'step 3/');
    const ranks = ranksOf(child.pid);
    expect(ranks.length).toBe(2);
    child.kill('SIGKILL');
    await exit;
    await expect.poll(() => ranks.filter(({ pid }) => lives(pid)), { timeout: 20_000 }).toEqual([]);
  });

  it('ends at once, and all ranks with it, at the second one', async () => {
    const child = start(join(folder, 'hurried'));
    const exit = ended(child);
    await seen(child, 'step 3/');
    const ranks = ranksOf(child.pid);
    expect(ranks.map(({ rank }) => rank).sort()).toEqual([0, 1]);
    for (const { pid } of ranks) process.kill(pid, 'SIGSTOP'); // they cannot save
    process.kill(child.pid!, 'SIGINT');
    await new Promise((resolve) => setTimeout(resolve, 300));
    process.kill(child.pid!, 'SIGINT');
    expect(await exit).toEqual([130, null]);
    await expect.poll(() => ranks.filter(({ pid }) => lives(pid)), { timeout: 20_000 }).toEqual([]);
  });
});
