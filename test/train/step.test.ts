import { describe, expect, it } from 'vitest';
import { type Batch, IGNORE, shiftOnce } from '../../src/data/index.js';
import { createModel, parametersOf } from '../../src/models/codec.js';
import { deepseekV3, deepseekV3Presets } from '../../src/models/deepseek_v3.js';
import type { Model } from '../../src/models/family.js';
import { AdamW } from '../../src/optim/adamw.js';
import { device } from '../../src/tensor/index.js';
import { StepGraphs, trainStep } from '../../src/train/step.js';
import { randomValues, relativeError } from '../ops/harness.js';
import { tinyExperts } from '../tiny_models.js';

const cpu = device('cpu');
const config = {
  ...deepseekV3Presets.micro,
  vocabulary: 64,
  ...tinyExperts,
  mtpLayers: 1,
};

/** Rows with different numbers of trained tokens, so that a mean of means would differ. */
function unevenBatch(rows: number, length: number): Batch {
  const ids = Int32Array.from(randomValues([rows * length], 3), (v) => Math.abs(Math.trunc(v * 1000)) % 64);
  const targets = ids.map((_, r) =>
    r % length < 2 + (Math.floor(r / length) % (length - 2)) ? ids[(r + 1) % ids.length]! : IGNORE,
  );
  return {
    rows,
    length,
    ids,
    targets,
    documentStart: new Int32Array(rows * length),
    trainedTokens: targets.filter((t) => t !== IGNORE).length,
    bytes: 0,
  };
}

const OPTIONS = {
  device: cpu,
  lr: 0.01,
  clip: 1,
  accumulate: 1,
  mtpWeight: 0.3,
  balance: true,
  recompute: false,
  biasSpeed: 0.01,
};

function optimizerFor<C, W>(model: Model<C, W>): AdamW {
  const trained = parametersOf(model as never)
    .filter(({ param }) => !param.buffer)
    .map(({ path, param, tensor }) => ({ name: path, tensor, decay: param.decay }));
  return new AdamW(trained, { beta1: 0.9, beta2: 0.95, eps: 1e-3, decay: 0.1, moments: 'f32' }, cpu);
}

function stepWith(accumulate: number, recompute = false): { weights: Float32Array[]; loss: number; norm: number } {
  const model = createModel(deepseekV3, config, { device: cpu, dtype: 'f32', seed: 5, train: true });
  const optimizer = optimizerFor(model);
  const result = trainStep(model, optimizer, unevenBatch(32, 8), { ...OPTIONS, accumulate, recompute });
  const weights = parametersOf(model as never).map(({ tensor }) => tensor.read());
  optimizer.dispose();
  for (const { tensor } of parametersOf(model as never)) tensor.dispose();
  return { weights, loss: result.loss, norm: result.gradNorm };
}

describe('a training step', () => {
  it('is the same as 1 x 32, 4 x 8 and 32 x 1 rows', () => {
    const whole = stepWith(1);
    for (const parts of [4, 32]) {
      const cut = stepWith(parts);
      expect(Math.abs(cut.loss - whole.loss)).toBeLessThan(1e-5);
      expect(Math.abs(cut.norm / whole.norm - 1)).toBeLessThan(1e-4);
      for (const [i, w] of cut.weights.entries())
        expect(relativeError(w, whole.weights[i]!), `parameter ${i}`).toBeLessThan(1e-4);
    }
  });

  it('is the same, to the bit, with recomputed blocks', () => {
    expect(stepWith(2, true)).toEqual(stepWith(2, false));
  });

  it('moves router biases against the load of all micro-batches', () => {
    const model = createModel(deepseekV3, config, { device: cpu, dtype: 'f32', seed: 5, train: true });
    const biases = deepseekV3.routerBiases!(model.weights);
    const before = biases.map(({ bias }) => bias.read());
    const optimizer = optimizerFor(model);
    const { loads } = trainStep(model, optimizer, unevenBatch(6, 8), { ...OPTIONS, accumulate: 3, biasSpeed: 0.25 });
    expect(biases.map((b) => b.layer)).toEqual([1, 2]);
    biases.forEach(({ layer, bias }, i) => {
      const load = loads.get(layer)!;
      const mean = load.reduce((a, b) => a + b, 0) / load.length;
      expect(mean).toBe((48 * 2) / 4); // tokens, experts of each, experts
      expect([...bias.read()]).toEqual([...before[i]!].map((b, e) => b + 0.25 * Math.sign(mean - load[e]!)));
    });
    optimizer.dispose();
    for (const { tensor } of parametersOf(model as never)) tensor.dispose();
  });

  it.each([false, true])('changes nothing when the loss is not finite (recorded %s)', (recorded) => {
    const model = createModel(deepseekV3, config, { device: cpu, dtype: 'f32', seed: 5, train: true });
    const optimizer = optimizerFor(model);
    const graphs = recorded ? new StepGraphs() : undefined;
    const bytes = () => [
      ...parametersOf(model as never).map(({ tensor }) => tensor.readBytes()),
      ...optimizer.state().map(([, tensor]) => tensor.readBytes()),
    ];
    const step = () => trainStep(model, optimizer, unevenBatch(4, 8), { ...OPTIONS, accumulate: 2 }, graphs);
    for (let i = 0; i < 3; i++) step();
    const [norm] = parametersOf(model as never).filter(({ path }) => /norm/.test(path));
    const values = norm!.tensor.read();
    norm!.tensor.write(values.map(() => Number.POSITIVE_INFINITY));
    const spoilt = bytes();
    expect(step).toThrow(/The loss is NaN and the gradient's norm NaN; nothing was updated/);
    expect(bytes()).toEqual(spoilt);
    expect(optimizer.steps).toBe(3);
    norm!.tensor.write(values);
    expect(Number.isFinite(step().loss)).toBe(true);
    expect(optimizer.steps).toBe(4);
    graphs?.dispose();
    optimizer.dispose();
    for (const { tensor } of parametersOf(model as never)) tensor.dispose();
  });
});

describe('targets of multi-token prediction', () => {
  it('are two tokens ahead, within the row and the document', () => {
    const batch = {
      ids: Int32Array.of(1, 2, 3, 4, 5, 6),
      targets: Int32Array.of(2, 3, 9, 5, IGNORE, 7),
      documentStart: Int32Array.of(0, 0, 0, 0, 0, 2),
      length: 3,
    };
    const { nextIds, nextTargets, trained } = shiftOnce(batch);
    expect([...nextIds]).toEqual([2, 3, 9, 5, 6, 7]);
    expect([...nextTargets]).toEqual([3, 9, IGNORE, IGNORE, IGNORE, IGNORE]);
    expect(trained).toBe(2);
  });
});
