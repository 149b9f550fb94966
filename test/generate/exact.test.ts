import { afterAll, describe, expect, it } from 'vitest';
import { Engine, type EngineOptions } from '../../src/generate/index.js';
import { createModel, parametersOf } from '../../src/models/codec.js';
import { ctrl, ctrlPresets } from '../../src/models/ctrl.js';
import { deepseekMoe, deepseekMoePresets } from '../../src/models/deepseek_moe.js';
import { deepseekV2, deepseekV2Presets } from '../../src/models/deepseek_v2.js';
import { deepseekV3, deepseekV3Presets } from '../../src/models/deepseek_v3.js';
import type { Family, Model } from '../../src/models/family.js';
import { gpt2, gpt2Presets } from '../../src/models/gpt2.js';
import { llama, llamaPresets } from '../../src/models/llama.js';
import { addon } from '../../src/native.js';
import { pack } from '../../src/rl/pack.js';
import type { Sample } from '../../src/rl/sample.js';
import { forwardPacked, replayOf, score } from '../../src/rl/score.js';
import { device, noGrad } from '../../src/tensor/index.js';

/*
 * In f32 on the CPU a policy is sampled with the very log-probabilities that training finds, to the bit, when keys and values
 * are cached expanded: prompts of many lengths, groups that share them, sequences that join and leave, contexts over
 * several tiles of keys.
 */

const cpu = device('cpu');
const sizes = { vocabulary: 300, hidden: 40, layers: 3, heads: 2, context: 256, deviation: 0.25, inner: 48 };
const routed = { expertInner: 24, experts: 8, active: 3 };
const latent = { ...routed, kvRank: 24, nope: 12, ropeSize: 8, value: 20 };
const grouped = { heads: 4, keyHeads: 2, headSize: 12 };
const create = (family: unknown, config: object): Model =>
  createModel(family as Family, { ...config }, { device: cpu, dtype: 'f32', seed: 3, train: false });
const models: readonly [string, Model][] = [
  ['V3', create(deepseekV3, { ...deepseekV3Presets.micro, ...sizes, ...latent, queryRank: 16 })],
  ['V2', create(deepseekV2, { ...deepseekV2Presets['deepseek-v2-lite'], ...sizes, ...latent })],
  [
    'V1 with experts',
    create(deepseekMoe, { ...deepseekMoePresets['deepseek-moe-2b'], ...sizes, ...routed, ...grouped }),
  ],
  ['llama', create(llama, { ...llamaPresets['dense-nano'], ...sizes, ...grouped })],
  ['GPT-2', create(gpt2, { ...gpt2Presets['gpt2-nano'], ...sizes })],
  ['CTRL', create(ctrl, { ...ctrlPresets.ctrl, ...sizes, deviation: 0.1 })],
];
afterAll(() => {
  for (const [, model] of models) for (const { tensor } of parametersOf(model)) tensor.dispose();
});

const temperature = 0.7;
const prompts = [3, 70, 33, 1, 64, 90].map((length, i) =>
  Array.from({ length }, (_, j) => (37 * i + 11 * j * j + 5 * j) % sizes.vocabulary),
);

/** Three completions of every prompt, of which some end early. */
function sampled(model: Model, options: EngineOptions): Sample[] {
  const engine = new Engine(model, { cacheTokens: 2304, maxBatch: 7, prefillTokens: 72, ...options });
  try {
    const settings = { count: 3, maxTokens: 100, temperature, seed: 11, stopIds: [7, 19, 101, 250] };
    const groups = engine.generate(prompts, settings);
    return groups.flatMap((group, i) =>
      group.map(({ ids, logprobs, finish }) => {
        return { question: { index: i, prompt: '', ids: prompts[i]! }, ids, logProbs: logprobs, text: '', finish };
      }),
    );
  } finally {
    engine.dispose();
  }
}

const logProbsOf = (samples: readonly Sample[]) => samples.map((s) => Float32Array.from(s.logProbs));

describe.each(models)('log-probabilities of samples, %s', (_, model) => {
  const samples = sampled(model, { cacheForm: 'expanded' });
  const scored = score(model, samples, { device: cpu, temperature, rowsAtOnce: 400 }, true);

  it('are those of the training forward, bit for bit', () => {
    expect(samples.some(({ finish }) => finish === 'stop')).toBe(true);
    expect(samples.some(({ finish, ids }) => finish === 'length' && ids.length === 100)).toBe(true);
    expect(scored.logProbs).toEqual(logProbsOf(samples));
  });

  it('also with experts replayed, and the entropy wanted', () => {
    const packed = pack(samples);
    const { ids, rows } = packed;
    const replay = scored.routes[0]!.size > 0 ? replayOf(scored.routes, ids.length, cpu) : undefined;
    const nll = noGrad(() => {
      return forwardPacked(model, packed, { device: cpu, temperature }, { replay, entropy: true }).nll.read();
    });
    expect(Float32Array.from(rows, (row) => -nll[row]!)).toEqual(Float32Array.from(samples.flatMap((s) => s.logProbs)));
  });

  it.each([
    ['recorded steps', { graphs: true }],
    ['steps that are not recorded', { graphs: false }],
    ['small pages and one sequence at a time', { pageSize: 12, maxBatch: 3, prefillTokens: 1 }],
  ])('do not depend on how they are generated: %s', (_name, options) => {
    expect(logProbsOf(sampled(model, { cacheForm: 'expanded', ...options }))).toEqual(logProbsOf(samples));
  });

  it('do not depend on the number of threads', () => {
    const { threads } = addon.hostInfo();
    try {
      for (const count of [1, 3]) {
        addon.setThreads(count);
        expect(logProbsOf(sampled(model, { cacheForm: 'expanded' }))).toEqual(logProbsOf(samples));
      }
    } finally {
      addon.setThreads(threads);
    }
  });

  it('are close to those over latents', () => {
    const other = sampled(model, {});
    const differences = other.map((s, i) => {
      const same = s.ids.findIndex((id, t) => id !== samples[i]!.ids[t]);
      const ours = samples[i]!.logProbs;
      return s.logProbs.slice(0, same < 0 ? undefined : same).map((p, t) => Math.abs(p - ours[t]!));
    });
    expect(differences.flat().length).toBeGreaterThan(200);
    expect(Math.max(...differences.flat())).toBeLessThan(1e-4);
  });
});
