import { dpoSchema, type PreferenceConfig, resolvePreference, rewardModelSchema } from '../../rl/preference/config.js';
import { dpoSubject } from '../../rl/preference/dpo.js';
import type { PreferenceEnd } from '../../rl/preference/events.js';
import type { Subject } from '../../rl/preference/lesson.js';
import { pairwiseSubject, safetySubject } from '../../rl/preference/reward_model.js';
import { learnPreferences } from '../../rl/preference/run.js';
import { schemaValues } from '../schema_flags.js';
import { preferenceView } from './preference_view.js';
import { stoppable } from './stop.js';

type Args = Readonly<Record<string, unknown>>;

export function runRewardModel(args: Args): Promise<PreferenceEnd> {
  const config = resolvePreference(rewardModelSchema, schemaValues(args, rewardModelSchema));
  return config.kind === 'safety' ? learn(safetySubject, config, args) : learn(pairwiseSubject, config, args);
}

export function runDpo(args: Args): Promise<PreferenceEnd> {
  return learn(dpoSubject, resolvePreference(dpoSchema, schemaValues(args, dpoSchema)), args);
}

function learn<E, C extends PreferenceConfig>(
  subject: Subject<E, C>,
  config: C,
  { json }: Args,
): Promise<PreferenceEnd> {
  const view = preferenceView(json ? process.stderr : process.stdout);
  return stoppable(view, (shouldStop) => learnPreferences(subject, config, { onEvent: view.show, shouldStop }));
}
