import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type Batch,
  IGNORE,
  type PermuteOptions,
  permutationMask,
  permutedBatches,
  type TokenStream,
  targetPlaces,
} from '../../src/data/index.js';
import { createModel, disposeModel, hubTensors, trainedParameters } from '../../src/models/codec.js';
import type { Model } from '../../src/models/family.js';
import { loadModel } from '../../src/models/folder.js';
import { type ForwardInputs, forward } from '../../src/models/forward.js';
import { xlnet } from '../../src/models/index.js';
import { AdamW } from '../../src/optim/adamw.js';
import { device, differentiate, resetGradients, scope, tensorsIn, zeros } from '../../src/tensor/index.js';
import { languageModelLoss } from '../../src/train/loss.js';
import { type SegmentMemory, segmentMemory } from '../../src/train/memory.js';
import { StepGraphs, trainStep } from '../../src/train/step.js';
import { largestGradient, maxError, openGolden } from '../models/golden.js';
import { sharedPath } from '../shared.js';

const cpu = device('cpu');
const [ROWS, LENGTH, REUSE, MEMORY, WIDTH] = [4, 24, 10, 14, 12] as const;

/** A small model that remembers; the later half of its batches runs backwards, as the later rows of the data do. */
const sizes = {
  ...xlnet.presets['xlnet-base']!,
  vocabulary: 23,
  hidden: WIDTH,
  layers: 3,
  heads: 3,
  inner: 20,
  deviation: 0.3,
  reversedHalf: true,
  memoryLength: MEMORY,
  reuseLength: REUSE,
};
const tiny = (dtype: 'f32' | 'bf16' = 'f32') =>
  createModel(xlnet, sizes, { device: cpu, dtype, seed: 3, train: true }) as unknown as Model;

/** A text of 400 tokens. */
const stream = {
  tokens: 400,
  read(start: number, count: number, out: Int32Array, at = 0) {
    for (let i = 0; i < count; i++) out[at + i] = 4 + (((start + i) * (start + i + 3)) % 19);
  },
} as unknown as TokenStream;
const permuting: PermuteOptions = {
  sepId: 1,
  clsId: 2,
  padId: 3,
  share: 1 / 6,
  reuse: REUSE,
  reversed: true,
  startsWord: (id) => id % 2 === 0,
  endsSentence: (id) => id % 5 === 0,
};
const source = () => permutedBatches({ shards: stream, rows: ROWS, length: LENGTH, seed: 2 }, permuting);
const some = (count: number): Batch[] => {
  const from = source();
  return Array.from({ length: count }, () => from.next().value!);
};

/** The same as arguments that transformers' model takes. */
function argumentsOf(batch: Batch, mems?: readonly Float32Array[]): ForwardInputs {
  const { rows, length } = batch;
  const { places, ids } = targetPlaces(batch);
  const targetMapping = new Float32Array(places.length * length);
  for (const [k, place] of places.entries()) if (place >= 0) targetMapping[k * length + place] = 1;
  return {
    shape: [rows, length],
    inputIds: batch.ids,
    tokenTypeIds: batch.types!,
    permMask: permutationMask(batch as Required<Batch>),
    targetMapping,
    labels: ids,
    mems,
  };
}

/** Loss and gradients of training, under the names on disk; what was remembered is in `memory` afterwards. */
function trained(model: Model, batch: Batch, memory?: SegmentMemory) {
  return scope(() => {
    resetGradients(tensorsIn(model.weights).filter((t) => t.requiresGrad));
    const { losses, remember } = differentiate(() => {
      const all = languageModelLoss(model, batch, { device: cpu, trainedTokens: batch.trainedTokens, memory });
      return { ...all, losses: [all.main] };
    });
    remember?.();
    const none = (shape: readonly number[]) => zeros(shape, { device: cpu }).read();
    const values = hubTensors(model, (t) => t.gradient?.value(t.shape)?.read() ?? none(t.shape));
    return { loss: losses[0]!.item(), gradients: new Map(values.map((t) => [t.name, t.values()])) };
  });
}

const within = (own: ReturnType<typeof trained>, whole: ReturnType<typeof forward>) => {
  expect(own.loss).toBeCloseTo(whole.loss!, 5);
  const largest = Math.max(...[...whole.gradients!.values()].map(({ values }) => Math.max(...values.map(Math.abs))));
  for (const [name, { values }] of whole.gradients!)
    expect(maxError(own.gradients.get(name)!, values, 1e-3 * largest), name).toBeLessThan(1e-4);
};

describe('training on words in any order', () => {
  it('takes the loss and gradients of the whole forward pass, with the memory that it gave before', () => {
    const model = tiny();
    const memory = segmentMemory(model, ROWS, LENGTH, cpu)!;
    let mems: readonly Float32Array[] | undefined;
    for (const [step, batch] of some(4).entries()) {
      expect([...batch.history!]).toEqual(new Array(ROWS).fill(step));
      const whole = forward(model, argumentsOf(batch, mems), cpu, true);
      within(trained(model, batch, memory), whole);
      mems = whole.newMems;
      expect(mems![0]!.length).toBe(Math.min(MEMORY, REUSE * (step + 1)) * ROWS * WIDTH);
    }
    for (const layer of memory.layers) layer.dispose();
    disposeModel(model);
  });

  it('forgets where a row goes on nowhere', () => {
    const model = tiny();
    const memory = segmentMemory(model, ROWS, LENGTH, cpu)!;
    const [first, second] = some(2) as [Batch, Batch];
    trained(model, first, memory);
    const fresh = { ...second, history: new Int32Array(ROWS) };
    within(trained(model, fresh, memory), forward(model, argumentsOf(second), cpu, true));
    for (const layer of memory.layers) layer.dispose();
    disposeModel(model);
  });

  it('is the same in micro-batches, in recorded steps and with blocks computed again', () => {
    const ways = [
      { accumulate: 2, recorded: false, recompute: false },
      { accumulate: 2, recorded: true, recompute: false },
      { accumulate: 2, recorded: false, recompute: true },
      { accumulate: 1, recorded: false, recompute: false },
    ];
    const losses = ways.map(({ accumulate, recorded, recompute }) => {
      const model = tiny();
      const optimizer = new AdamW(trainedParameters(model), { decay: 0 }, cpu);
      const graphs = recorded ? new StepGraphs() : undefined;
      const memory = segmentMemory(model, ROWS, LENGTH, cpu)!;
      const rest = { device: cpu, lr: 3e-3, clip: 1, mtpWeight: 0, balance: false, biasSpeed: 0 };
      const all = some(12).map((batch) => {
        const options = { ...rest, accumulate, recompute, memory };
        return trainStep(model, optimizer, batch, options, graphs).loss;
      });
      const remembered = memory.layers.map((layer) => layer.read());
      graphs?.dispose();
      optimizer.dispose();
      for (const layer of memory.layers) layer.dispose();
      disposeModel(model);
      return { all, remembered };
    });
    const [first, ...others] = losses as [(typeof losses)[0], ...typeof losses];
    const whole = others.pop()!;
    for (const other of others) expect(other).toEqual(first); // to the bit
    for (const [i, loss] of whole.all.slice(0, 4).entries()) expect(loss).toBeCloseTo(first.all[i]!, 4);
    expect(first.remembered.every((layer) => layer.every(Number.isFinite) && layer.some((x) => x !== 0))).toBe(true);
  });

  it('is the same in bf16 but for rounding', () => {
    const models = [tiny(), tiny('bf16')] as const;
    const [exact, rounded] = models.map((model) => {
      const memory = segmentMemory(model, ROWS, LENGTH, cpu)!;
      const found = some(3).map((batch) => trained(model, batch, memory).loss);
      for (const layer of memory.layers) layer.dispose();
      return found;
    }) as [number[], number[]];
    for (const [i, loss] of rounded.entries()) expect(Math.abs(loss / exact[i]! - 1)).toBeLessThan(0.05);
    for (const model of models) disposeModel(model);
  });

  it('asks for batches that have an order', () => {
    const model = tiny();
    const { turns: _, ...plain } = some(1)[0]!;
    expect(() => languageModelLoss(model, plain, { device: cpu, trainedTokens: 4 })).toThrow(/permutedBatches\(\)/);
    disposeModel(model);
  });
});

const root = sharedPath('golden');
describe.skipIf(!root)('parity with transformers (skipped where the shared goldens are not laid out)', () => {
  it("gives the loss and gradients of transformers' two streams on an order of words", () => {
    const at = join(root!, 'xlnet-perm');
    const golden = openGolden(at);
    const model = loadModel(at, { device: cpu, train: true });
    const [rows, length] = golden.shape('input_ids') as [number, number];
    const [ids, mask, labels] = [golden.ints('input_ids'), golden.ints('attention_mask'), golden.ints('labels')];
    const perm = golden.floats('perm_mask');
    const mapping = golden.floats('target_mapping');
    const targetsPerRow = mapping.length / rows / length;
    const targets = new Int32Array(ids.length).fill(IGNORE);
    const turns = new Int32Array(ids.length);
    for (let k = 0; k < rows * targetsPerRow; k++) {
      const row = Math.floor(k / targetsPerRow);
      const r = row * length + mapping.subarray(k * length, (k + 1) * length).indexOf(1);
      targets[r] = labels[k]!;
      // A target's turn comes after those of the targets that it sees.
      const seen = (j: number) => isTarget(row, j) && perm[r * length + j] === 0;
      turns[r] = 1 + Array.from({ length }, (_, j) => j).filter(seen).length;
    }
    function isTarget(row: number, i: number): boolean {
      for (let k = row * targetsPerRow; k < (row + 1) * targetsPerRow; k++)
        if (mapping[k * length + i] === 1) return true;
      return false;
    }
    for (const [r, m] of mask.entries()) if (!m) turns[r] = length + 3;
    const batch: Batch = {
      rows,
      length,
      ids,
      targets,
      turns,
      types: golden.ints('token_type_ids'),
      documentStart: new Int32Array(ids.length),
      targetsPerRow,
      trainedTokens: targets.filter((t) => t !== IGNORE).length,
      bytes: 0,
    };
    // The order is the golden's, but for padding, which the mask hides there, and a target that has no label.
    const own = permutationMask(batch as Required<Batch>);
    for (const [p, hidden] of own.entries()) {
      const [r, j] = [Math.floor(p / length), p % length];
      const other = Math.floor(r / length) * length + j;
      const labelled = (at: number) => !isTarget(Math.floor(at / length), at % length) || targets[at] !== IGNORE;
      if (mask[r] && mask[other] && labelled(r)) expect(hidden, `${r} ${j}`).toBe(perm[p]);
    }
    const { loss, gradients } = trained(model, batch);
    expect(Math.abs(loss - golden.floats('loss')[0]!)).toBeLessThan(1e-5);
    const largest = largestGradient(golden);
    for (const stored of golden.names().filter((n) => n.startsWith('grad.')))
      expect(
        maxError(gradients.get(stored.slice('grad.'.length))!, golden.floats(stored), 1e-3 * largest),
        stored,
      ).toBeLessThan(3e-4);
    disposeModel(model);
  });
});

describe('a model that remembers nothing', () => {
  it('has no memory', () => {
    const forgetful = { ...sizes, memoryLength: 0, reuseLength: 0, reversedHalf: false };
    const model = createModel(xlnet, forgetful, { device: cpu, dtype: 'f32', seed: 1 }) as unknown as Model;
    expect(segmentMemory(model, ROWS, LENGTH, cpu)).toBeUndefined();
    disposeModel(model);
  });
});
