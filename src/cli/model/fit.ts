import { flagOf } from '../../config/flag_name.js';
import { contextOf, type Model } from '../../models/family.js';
import { countParameters } from '../../nn/param.js';
import { cacheBytes } from '../../rl/fit.js';
import { bytesOf } from '../../tensor/index.js';
import { passBytes } from '../../train/estimate.js';
import { type Choices, halvings } from '../../train/fit.js';

type Dtype = 'f32' | 'bf16';

const weightBytes = ({ family, config }: Model, dtype: Dtype): number =>
  countParameters(family.specs(config)) * bytesOf(dtype);

/** Tokens that the cache must hold for completions of one prompt. */
export const cacheTokensFor = (model: Model, prompt: number, { count, maxTokens }: SampleSize): number =>
  (Math.min(prompt + maxTokens, contextOf(model)) + 64) * count;

export interface SampleSize {
  readonly count: number;
  readonly maxTokens: number;
}

/** Choices of a command that samples: fewer completions, then arithmetic in bf16, then shorter ones. */
export function sampleChoices(model: Model, prompt: number, size: SampleSize): Choices<SampleSize & { dtype: Dtype }> {
  const held = ({ dtype, ...s }: SampleSize & { dtype: Dtype }) =>
    weightBytes(model, dtype) +
    cacheBytes({ ...model, dtype }, { cacheTokens: cacheTokensFor(model, prompt, s) }, 'latent');
  const narrow = model.dtype === 'f32' ? [{ dtype: 'bf16' as const }] : [];
  const longest = Math.min(size.maxTokens, contextOf(model));
  return {
    now: { count: size.count, maxTokens: size.maxTokens, dtype: model.dtype },
    candidates: [
      ...halvings(size.count).map((count) => ({ count })),
      ...narrow,
      ...halvings(longest).map((maxTokens) => ({ maxTokens })),
      ...halvings(longest).map((maxTokens) => ({ maxTokens, count: 1, ...narrow[0] })),
    ],
    bytes: (s) => held(s) + passBytes(model, s.dtype, prompt, s.count),
    least: held,
    flag: flagOf,
  };
}

interface ScoreSize {
  readonly rows: number;
  readonly length: number;
}

/** Choices of a command that scores text: fewer windows at once, which changes no score, then bf16, then shorter windows. */
export function scoreChoices(model: Model, size: ScoreSize): Choices<ScoreSize & { dtype: Dtype }> {
  const narrow = model.dtype === 'f32' ? [{ dtype: 'bf16' as const }] : [];
  return {
    now: { ...size, dtype: model.dtype },
    candidates: [
      ...halvings(size.rows).map((rows) => ({ rows })),
      ...narrow,
      ...halvings(size.length).map((length) => ({ length })),
      ...halvings(size.length).map((length) => ({ length, rows: 1, ...narrow[0] })),
    ],
    bytes: ({ rows, length, dtype }) => weightBytes(model, dtype) + passBytes(model, dtype, rows * length),
    least: ({ dtype }) => weightBytes(model, dtype),
    flag: flagOf,
  };
}
