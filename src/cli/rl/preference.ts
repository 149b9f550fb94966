import { dpoSchema, rewardModelSchema } from '../../rl/preference/config.js';
import { type PreferenceEnd, type PreferenceHooks, trainDpo, trainRewardModel } from '../../rl/preference/index.js';
import { schemaValues } from '../flags/schema.js';
import { stoppable } from '../stop.js';
import { preferenceView } from './preference_view.js';

type Args = Readonly<Record<string, unknown>>;

/** Trains a reward model as the command line says, and shows it. */
export const runRewardModel = (args: Args): Promise<PreferenceEnd> =>
  shown(args, (hooks) => trainRewardModel(schemaValues(args, rewardModelSchema), hooks));

/** The same for DPO. */
export const runDpo = (args: Args): Promise<PreferenceEnd> =>
  shown(args, (hooks) => trainDpo(schemaValues(args, dpoSchema), hooks));

function shown({ json }: Args, train: (hooks: PreferenceHooks) => Promise<PreferenceEnd>): Promise<PreferenceEnd> {
  const view = preferenceView(json ? process.stderr : process.stdout);
  return stoppable(view, (signal) => train({ onEvent: view.show, shouldStop: () => signal.aborted }));
}
