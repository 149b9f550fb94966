import { flagOf } from '../config/flag_name.js';
import { cacheBytes } from '../generate/memory.js';
import type { CacheForm, Model } from '../models/family.js';
import { countParameters } from '../nn/param.js';
import { bytesOf, type Device } from '../tensor/index.js';
import { estimateMemory, leastMemory } from '../train/estimate.js';
import { type Choices, halvings } from '../train/fit.js';
import type { GrpoConfig } from './config.js';
import { engineOptions, policyCacheForm } from './rollout.js';

/** The settings that decide a GRPO run's memory. */
export type GrpoSize = Pick<GrpoConfig, 'rowsAtOnce' | 'recompute' | 'parallel' | 'maxTokens' | 'kl'>;

/**
 * Choices of a GRPO run: changes that keep the result come first (the rows of a pass, recomputation, the completions sampled at
 * once), then shorter completions, and no reference model.
 */
export function grpoChoices(
  model: Pick<Model, 'family' | 'config' | 'dtype'>,
  config: Pick<GrpoConfig, keyof GrpoSize | 'prompts' | 'group' | 'evaluateSamples' | 'maxPrompt' | 'exactRollouts'>,
  device: Pick<Device, 'kind'>,
): Choices<GrpoSize> {
  const { rowsAtOnce, recompute, parallel, maxTokens, kl, prompts, group } = config;
  const now = { rowsAtOnce, recompute, parallel, maxTokens, kl };
  // A pass holds the longest sample at least, and a rollout one group.
  const longest = config.maxPrompt + maxTokens;
  const rows = halvings(Math.min(rowsAtOnce, prompts * group * longest)).filter((n) => n >= longest);
  const fewer = halvings(Math.min(parallel, prompts * group)).filter((n) => n >= group);
  const again = recompute ? {} : { recompute: true };
  const least = { ...(rows.length > 0 && { rowsAtOnce: rows.at(-1)! }), ...again };
  const pool = fewer.length > 0 && { parallel: fewer.at(-1)! };
  return {
    now,
    candidates: [
      ...rows.map((n) => ({ rowsAtOnce: n })),
      ...(recompute ? [] : [again]),
      ...rows.map((n) => ({ rowsAtOnce: n, ...again })),
      ...fewer.map((n) => ({ parallel: n })),
      ...(pool ? [{ ...least, ...pool }] : []),
      ...(kl > 0 ? [{ kl: 0 }, { ...least, ...pool, kl: 0 }] : []),
      ...halvings(maxTokens).map((n) => ({ maxTokens: n, ...least, ...pool })),
    ],
    bytes: (s) => bytesOfRun(model, { ...config, ...s }, policyCacheForm(model, device, config)),
    least: ({ kl }) => {
      const reference = kl > 0 ? countParameters(model.family.specs(model.config)) * bytesOf(model.dtype) : 0;
      return leastMemory(model, { dtype: model.dtype, tokens: 0, moments: 'f32', recompute }) + reference;
    },
    flag: flagOf,
  };
}

/** A step's memory, the rollout's cache, and the weights of the reference. */
function bytesOfRun(
  { family, config, dtype }: Pick<Model, 'family' | 'config' | 'dtype'>,
  c: GrpoSize & Parameters<typeof engineOptions>[0],
  form: CacheForm,
): number {
  const largest = c.prompts * c.group * (c.maxPrompt + c.maxTokens);
  const tokens = Math.min(c.rowsAtOnce, largest);
  const step = estimateMemory({ family, config }, { dtype, tokens, moments: 'f32', recompute: c.recompute });
  const reference = c.kl > 0 ? step.parameters * bytesOf(dtype) : 0;
  return step.total + cacheBytes({ family, config, dtype }, engineOptions(c), form) + reference;
}
