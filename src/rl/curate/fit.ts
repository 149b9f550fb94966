import { flagOf } from '../../config/flag_name.js';
import { generatingBytes } from '../../generate/memory.js';
import type { Model } from '../../models/family.js';
import { passBytes } from '../../train/estimate.js';
import { type Choices, halvings } from '../../train/fit.js';
import { engineOptions } from '../rollout.js';
import type { CurateConfig } from './config.js';

/** The settings that decide how much memory sampling takes. */
export type CurateSize = Pick<CurateConfig, 'parallel' | 'maxTokens' | 'maxPrompt' | 'dtype'>;

/** The engine of a run: as many completions at once as the settings allow. */
export const engineFor = (c: CurateSize & Pick<CurateConfig, 'samples' | 'batch'>) =>
  engineOptions({ ...c, group: c.samples, prompts: c.batch, evaluateSamples: 1 });

/**
 * Choices of a run that samples from a model: fewer completions at once, which changes none of them, then arithmetic in bf16,
 * shorter completions and shorter prompts.
 */
export function curateChoices(model: Pick<Model, 'family' | 'config'>, config: CurateConfig): Choices<CurateSize> {
  const { parallel, maxTokens, maxPrompt, dtype, samples, batch } = config;
  const fewer = halvings(Math.min(parallel, batch * samples)).filter((n) => n >= samples);
  const narrow = dtype === 'f32' ? [{ dtype: 'bf16' as const }] : [];
  const least = fewer.length > 0 ? { parallel: fewer.at(-1)! } : {};
  const held = (s: CurateSize) => generatingBytes(model, s.dtype, engineFor({ ...config, ...s }));
  return {
    now: { parallel, maxTokens, maxPrompt, dtype },
    candidates: [
      ...fewer.map((n) => ({ parallel: n })),
      ...narrow,
      ...narrow.map((n) => ({ ...n, ...least })),
      ...halvings(maxTokens).map((n) => ({ maxTokens: n })),
      ...halvings(maxTokens).map((n) => ({ maxTokens: n, ...least, ...narrow[0] })),
      ...halvings(maxPrompt).map((n) => ({ maxPrompt: n })),
    ],
    bytes: (s) => {
      const { prefillTokens = 0, maxBatch = 0 } = engineFor({ ...config, ...s });
      return held(s) + passBytes(model, s.dtype, Math.min(prefillTokens, batch * s.maxPrompt), maxBatch);
    },
    least: held,
    flag: flagOf,
  };
}
