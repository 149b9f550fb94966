import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defineConfig, type RunConfig, type RunConfigInput } from '../../../src/config/index.js';
import { openSafetensors } from '../../../src/hub/safetensors.js';
import { pretrain, pretrainOnRanks } from '../../../src/train/pretrain.js';
import { relativeError } from '../../ops/harness.js';
import { compileProgram, programFolder } from '../run/compile.js';

/* What models learn that do not write, on several ranks: each part of the loss is that of the whole batch. */

let folder: string;
let program: string;
let text: string;

beforeAll(() => {
  folder = programFolder('objectives', ['build', 'LICENSE', 'native']);
  program = compileProgram('src/train/ranks/rank.ts', folder);
  text = join(folder, 'text.jsonl');
  const sentence = (i: number) =>
    `The ${['cat', 'dog', 'cow'][i % 3]} ${['purrs', 'barks', 'moos'][(i >> 1) % 3]} ${i}.`;
  const lines = Array.from({ length: 30 }, (_, d) =>
    Array.from({ length: 40 }, (_, i) => sentence(d * i + i)).join('\n'),
  );
  writeFileSync(text, lines.map((of) => JSON.stringify({ text: of })).join('\n'));
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Few steps of a model of two layers, in f32. */
function run(
  name: string,
  ranks: number,
  { preset, steps = 4, ...more }: RunConfigInput & { readonly steps?: number },
): RunConfig {
  return defineConfig({
    ...more,
    preset,
    out: join(folder, name),
    device: 'cpu',
    threads: 1,
    ranks,
    data: { sources: [text], validation: 0, ...more.data },
    tokenizer: { vocabSize: 320 },
    model: { hidden: 32, layers: 2, heads: 2, inner: 64, deviation: 0.1, ...(more.model as object) },
    train: {
      steps,
      rows: 6,
      length: 32,
      dtype: 'f32',
      optimizer: { lr: 1e-3 },
      schedule: { kind: 'constant', warmup: 2 },
    },
    evaluate: { every: 0 },
    save: { every: 0 },
    log: { tensorboard: false },
  });
}

const trained = (config: RunConfig) => (config.ranks === 1 ? pretrain(config) : pretrainOnRanks(config, {}, program));

/** The figures of each step that are losses or norms. */
const figuresOf = ({ out }: RunConfig) =>
  readFileSync(join(out, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => Object.entries(JSON.parse(line) as Record<string, number>).filter(([key]) => /loss|norm/.test(key)));

function stateOf({ out }: RunConfig): Map<string, Float32Array> {
  const file = openSafetensors(join(out, 'checkpoints', 'latest', 'trainer', 'state.safetensors'));
  const read = [...file.tensors].map(([key, t]) => [key, new Float32Array(t.read().slice().buffer)] as const);
  file.close();
  return new Map(read);
}

function expectSame(found: RunConfig, expected: RunConfig, figures: readonly string[]): void {
  const [mine, other] = [figuresOf(found), figuresOf(expected)];
  expect(mine.length).toBe(other.length);
  expect(other[0]!.map(([key]) => key)).toEqual(expect.arrayContaining(figures.map((name) => `train/${name}`)));
  for (const [step, values] of other.entries())
    for (const [i, [key, value]] of values.entries()) {
      expect(mine[step]![i]![0]).toBe(key);
      expect(Math.abs(mine[step]![i]![1] - value), `${key} of step ${step + 1}`).toBeLessThanOrEqual(
        1e-4 * Math.abs(value),
      );
    }
  const [state, reference] = [stateOf(found), stateOf(expected)];
  expect([...state.keys()]).toEqual([...reference.keys()]);
  for (const [key, values] of reference) expect(relativeError(state.get(key)!, values), key).toBeLessThan(1e-3);
}

describe('on several ranks', () => {
  it('pairs of texts are judged as on one', async () => {
    const at = (name: string, ranks: number) =>
      run(name, ranks, { preset: 'bert-tiny', data: { pairs: 'next', wholeWords: 3 } });
    const [one, three] = [at('pairs', 1), at('pairs on three', 3)];
    await trained(one);
    await trained(three);
    expectSame(three, one, ['loss', 'relation_loss', 'grad_norm']);
  });

  it('a teacher is learnt from as on one', async () => {
    const { checkpoint: teacher } = await trained(run('teacher', 1, { preset: 'bert-tiny', data: { pairs: 'none' } }));
    const at = (name: string, ranks: number) =>
      run(name, ranks, { preset: 'distilbert-base', distill: { teacher: teacher! } });
    const [one, two] = [at('student', 1), at('student on two', 2)];
    await trained(one);
    await trained(two);
    expectSame(two, one, ['loss', 'soft_loss', 'cosine_loss', 'grad_norm']);
  });

  it('rows are remembered as on one, also by a run that goes on with another number of ranks', async () => {
    const at = (name: string, ranks: number, steps = 6) =>
      run(name, ranks, { preset: 'xlnet-nano', steps, data: { reversed: false }, model: { memoryLength: 20 } });
    const one = at('remembers', 1);
    await trained(one);
    expect([...stateOf(one).keys()].filter((key) => key.startsWith('memory.')).length).toBe(2);
    for (const [name, before, after] of [
      ['fewer', 3, 1],
      ['more', 1, 2],
    ] as const) {
      await trained(at(name, before, 3));
      await trained(at(name, after));
      expectSame(at(name, after), one, ['loss', 'grad_norm']);
    }
  });
});
