import { describe, expect, it } from 'vitest';
import type { Batch } from '../../src/data/index.js';
import { createModel, parametersOf } from '../../src/models/codec.js';
import { deepseekV3, deepseekV3Presets } from '../../src/models/deepseek_v3.js';
import { AdamW } from '../../src/optim/adamw.js';
import { device, memoryOf } from '../../src/tensor/index.js';
import { StepGraphs, trainStep } from '../../src/train/step.js';
import { randomValues } from '../ops/harness.js';
import { tinyExperts } from '../tiny_models.js';

const cpu = device('cpu');
const config = {
  ...deepseekV3Presets.micro,
  vocabulary: 64,
  ...tinyExperts,
  mtpLayers: 1,
};

function batchOf(rows: number, seed: number, length = 8): Batch {
  const ids = Int32Array.from(randomValues([rows * length], seed), (v) => Math.abs(Math.trunc(v * 1000)) % 64);
  const documentStart = ids.map((_, i) => (i % length > 4 && seed % 2 ? 4 : 0));
  return {
    rows,
    length,
    ids,
    targets: ids.map((_, i) => ids[(i + 1) % ids.length]!),
    documentStart,
    trainedTokens: rows * length,
    bytes: 0,
  };
}

/** Steps on changing batches and learning rates, the last with fewer rows. */
function run(recorded: boolean, recompute: boolean) {
  const model = createModel(deepseekV3, config, { device: cpu, dtype: 'f32', seed: 5, train: true });
  const trained = parametersOf(model as never)
    .filter(({ param }) => !param.buffer)
    .map(({ path, param, tensor }) => ({ name: path, tensor, decay: param.decay }));
  const optimizer = new AdamW(trained, { beta1: 0.9, beta2: 0.95, eps: 1e-3, decay: 0.1, moments: 'f32' }, cpu);
  const graphs = recorded ? new StepGraphs() : undefined;
  const results = [6, 6, 6, 6, 4, 6].map((rows, i) => {
    const options = {
      device: cpu,
      lr: 0.01 / (i + 1),
      clip: 0.5,
      accumulate: 2,
      mtpWeight: i < 3 ? 0.3 : 0.1,
      balance: true,
      recompute,
      biasSpeed: 0.01,
    };
    return trainStep(model, optimizer, batchOf(rows, 7 + i), options, graphs);
  });
  const weights = parametersOf(model as never).map(({ tensor }) => tensor.readBytes());
  graphs?.dispose();
  optimizer.dispose();
  for (const { tensor } of parametersOf(model as never)) tensor.dispose();
  return { results, weights };
}

describe('recorded training steps', () => {
  it.each([false, true])('are the steps that run op by op, to the bit (recompute %s)', (recompute) => {
    const before = memoryOf(cpu);
    const plain = run(false, recompute);
    expect(run(true, recompute)).toEqual(plain);
    expect(new Set(plain.results.map((r) => r.loss)).size).toBe(plain.results.length);
    const after = memoryOf(cpu);
    expect(after.tensors - before.tensors).toBeLessThanOrEqual(1); // the rope table, made by the first run, is kept
    expect(after.tags.graphs!.live).toBe(0);
  });
});
