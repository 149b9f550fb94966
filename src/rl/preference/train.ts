import { type DpoInput, dpoSchema, type RewardModelInput, resolvePreference, rewardModelSchema } from './config.js';
import { dpoSubject } from './dpo.js';
import type { PreferenceEnd } from './events.js';
import { pairwiseSubject, safetySubject } from './reward_model.js';
import { learnPreferences, type PreferenceHooks } from './run.js';

/**
 * Trains a reward model on pairs, or with `kind: 'safety'` on labelled answers.
 *
 *     await trainRewardModel({ model: 'runs/sft', data: ['pairs.jsonl'], out: 'runs/helpful' });
 *
 * @throws as learnPreferences(), and `bad-config` with every setting that does not fit
 */
export async function trainRewardModel(input: RewardModelInput, hooks?: PreferenceHooks): Promise<PreferenceEnd> {
  const config = resolvePreference(rewardModelSchema, input);
  return config.kind === 'safety'
    ? learnPreferences(safetySubject, config, hooks)
    : learnPreferences(pairwiseSubject, config, hooks);
}

/** Trains a model on pairs by direct preference optimization. @throws as trainRewardModel() */
export async function trainDpo(input: DpoInput, hooks?: PreferenceHooks): Promise<PreferenceEnd> {
  return learnPreferences(dpoSubject, resolvePreference(dpoSchema, input), hooks);
}
