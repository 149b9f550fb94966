import { afterAll, describe, expect, it } from 'vitest';
import { Engine } from '../../src/generate/index.js';
import { createModel, parametersOf } from '../../src/models/codec.js';
import { deepseekV3, deepseekV3Presets } from '../../src/models/deepseek_v3.js';
import type { Model } from '../../src/models/index.js';
import { llama, llamaPresets } from '../../src/models/llama.js';
import { device, memoryOf } from '../../src/tensor/index.js';
import { tinyLatent } from '../tiny_models.js';

const cpu = device('cpu');
const small = { vocabulary: 300, hidden: 24, layers: 3, heads: 2, context: 128, deviation: 0.3 };
const latent = {
  ...deepseekV3Presets.micro,
  ...small,
  ...tinyLatent,
};
const dense = { ...llamaPresets['dense-nano'], ...small, heads: 4, keyHeads: 2, headSize: 8, inner: 32 };
const create = { device: cpu, dtype: 'f32', seed: 3, train: false } as const;
const models: [string, Model][] = [
  ['latent attention and experts', createModel(deepseekV3, latent, create) as Model],
  ['grouped keys', createModel(llama, dense, create) as Model],
];
afterAll(() => {
  for (const [, model] of models) for (const { tensor } of parametersOf(model)) tensor.dispose();
});

const prompts = [[5, 9, 200], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [299], [17, 18, 19, 20], [40, 41]];

describe.each(models)('recorded generation, %s', (_, model) => {
  const generate = (graphs: boolean, options: object) => {
    const engine = new Engine(model, { pageSize: 4, cacheTokens: 512, maxBatch: 4, prefillTokens: 12, graphs });
    const result = engine.generate(prompts, { maxTokens: 17, ...options });
    engine.dispose();
    return result;
  };

  it.each([
    ['greedy', { temperature: 0 }],
    ['sampled', { temperature: 0.9, topP: 0.9, topK: 40, seed: 7 }],
    ['with a penalty, which is not recorded', { temperature: 0.8, repetitionPenalty: 1.2, seed: 7 }],
  ])('gives the tokens of generation that is not recorded: %s', (_name, options) => {
    const before = memoryOf(cpu);
    const plain = generate(false, options);
    const recorded = generate(true, options);
    expect(recorded.map((g) => g.map((c) => [c.ids, c.finish]))).toEqual(
      plain.map((g) => g.map((c) => [c.ids, c.finish])),
    );
    recorded.forEach((group, i) => {
      group.forEach((completion, j) => {
        completion.logprobs.forEach((p, n) => {
          expect(Math.abs(p - plain[i]![j]!.logprobs[n]!)).toBeLessThan(1e-5);
        });
      });
    });
    const after = memoryOf(cpu);
    expect(after.tags.graphs!.live).toBe(0);
    expect(after.tensors - before.tensors).toBeLessThanOrEqual(1); // the rope table
  });
});
