import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { defineConfig, type RunConfigInput } from '../../src/config/index.js';
import { pretrain } from '../../src/train/pretrain.js';
import { on, rehearsal } from './device.js';

/* What the lineage learns from, other than the next token: words in any order with a memory, pairs of texts, a teacher. */

const folder = mkdtempSync(join(tmpdir(), 'train-moe-gpu-objectives-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => {
  delete process.env.TRAIN_MOE_GRAPHS;
});

const steps = rehearsal ? 4 : 20;
const teacher = join(folder, 'teacher');

const objectives: Readonly<Record<string, RunConfigInput>> = {
  'words in any order': { preset: 'xlnet-nano', model: { memoryLength: 10 } },
  'pairs of texts': { preset: 'bert-tiny' },
  'order of texts': { preset: 'albert-base', model: { embedding: 16 } },
  'a teacher': { preset: 'distilbert-base', data: { pairs: 'none' }, distill: { teacher, cosine: 1 } },
};

/** Trains on our licence in a folder of that name, on the device under test unless told otherwise. */
function train(objective: RunConfigInput, name: string, { device = on.kind as string, dtype = 'f32' } = {}) {
  return pretrain(
    defineConfig({
      ...objective,
      out: join(folder, name),
      device: device as 'cpu',
      data: { sources: [fileURLToPath(new URL('../../LICENSE', import.meta.url))], validation: 0, ...objective.data },
      tokenizer: { vocabSize: 300 },
      model: { hidden: 32, layers: 2, heads: 2, inner: 32, ...(objective.model as object) },
      train: { steps, rows: 4, length: 24, accumulate: 2, dtype: dtype as 'f32', optimizer: { lr: 1e-3 } },
      evaluate: { every: 0 },
      save: { every: 0 },
      log: { tensorboard: false },
    }),
  );
}

const figures = (name: string) =>
  readFileSync(join(folder, name, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number>);

describe.each(Object.entries(objectives))('pre-training on %s', (name, objective) => {
  it('has the losses of the CPU, in recorded steps to the bit those of others', async () => {
    if (objective.distill) await train({ preset: 'bert-tiny', data: { pairs: 'none' } }, 'teacher', { device: 'cpu' });
    await train(objective, `${name} cpu`, { device: 'cpu' });
    process.env.TRAIN_MOE_GRAPHS = '1';
    const recorded = await train(objective, `${name} recorded`);
    process.env.TRAIN_MOE_GRAPHS = '0';
    const plain = await train(objective, `${name} plain`);
    const [expected, found] = [figures(`${name} cpu`), figures(`${name} recorded`)];
    for (const [i, figure] of expected.entries())
      for (const key of ['train/loss', 'train/relation_loss', 'train/soft_loss', 'train/cosine_loss'])
        if (figure[key] !== undefined)
          expect(Math.abs(found[i]![key]! / figure[key] - 1), `${key} of step ${i + 1}`).toBeLessThan(2e-3);
    expect(recorded.losses).toEqual(plain.losses);
    const stateOf = ({ checkpoint }: typeof plain) => readFileSync(join(checkpoint!, 'trainer', 'state.safetensors'));
    expect(stateOf(recorded).equals(stateOf(plain))).toBe(true);
  });
});
