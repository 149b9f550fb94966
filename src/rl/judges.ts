import { chooseDevice } from '../tensor/index.js';
import type { GrpoConfig } from './config.js';
import { type ModelReward, openModelReward } from './preference/reward.js';
import { modelRewardOf } from './preference/reward_spec.js';
import type { Running } from './preference/running.js';
import { openGraders, type RewardResult, type RewardSpec, type Sample } from './rewards/index.js';
import type { BatchOptions } from './rewards/types.js';

/** Rewards that are open: rules in graders, reward models in this process. */
export interface Judges {
  /** For metrics, in the order of the specs. */
  readonly names: readonly string[];
  /** results[sample][reward]. */
  grade(samples: readonly Sample[], options: BatchOptions): Promise<readonly (readonly RewardResult[])[]>;
  /** The scores that reward models have seen, as JSON. */
  state(): unknown;
  restore(state: unknown): void;
  close(): void;
}

/** Names that occur again get a number, so that the metrics of each are kept apart. */
export const distinct = (names: readonly string[]): string[] =>
  names.map((name, i) => {
    const before = names.slice(0, i).filter((other) => other === name).length;
    return before === 0 ? name : `${name}#${before + 1}`;
  });

type JudgeSettings = Pick<GrpoConfig, 'graderWorkers' | 'graderTimeout' | 'device'> &
  Partial<Pick<GrpoConfig, 'dtype' | 'rowsAtOnce'>>;

/**
 * Opens rewards: `model:DIR` is a reward model, everything else a rule. Models judge after the rules: while they compute, no
 * answer of a grader would be heard, and its deadline would pass.
 * @throws TrainMoeError for a reward or options that do not exist or fit, a model that is missing, or a missing sandbox
 */
export async function openJudges(specs: readonly RewardSpec[], c: JudgeSettings, open = openGraders): Promise<Judges> {
  const { device } = chooseDevice(c.device);
  const { dtype = 'f32', rowsAtOnce = 16_384 } = c;
  const found = specs.map(modelRewardOf);
  const rules = specs.filter((_, i) => !found[i]);
  const models: ModelReward[] = [];
  const closeModels = () => models.forEach((model) => void model.dispose());
  try {
    for (const spec of found) if (spec) models.push(await openModelReward(spec, { device, dtype, rowsAtOnce }));
    const timeoutMs = Math.ceil(c.graderTimeout * 1000);
    const pool = rules.length > 0 ? await open(rules, { workers: c.graderWorkers, timeoutMs }) : undefined;
    return {
      names: distinct(specs.map(({ name }, i) => found[i]?.name ?? name)),
      async grade(samples, options) {
        const ruled = await pool?.grade(samples);
        const scored: (readonly RewardResult[])[] = [];
        for (const model of models) scored.push(await model.scoreAll(samples, options));
        return samples.map((_, s) => {
          const rest = { rules: ruled?.[s] ?? [], models: scored.map((scores) => scores[s]!) };
          const at = { rules: 0, models: 0 };
          return found.map((isModel) => (isModel ? rest.models[at.models++]! : rest.rules[at.rules++]!));
        });
      },
      state: () => models.map(({ running }) => running),
      restore(state) {
        models.forEach((model, i) => {
          model.running = (state as Running[] | undefined)?.[i] ?? model.running;
        });
      },
      close() {
        pool?.close();
        closeModels();
      },
    };
  } catch (error) {
    closeModels();
    throw error;
  }
}
