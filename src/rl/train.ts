import { type Algorithm, type GrpoInput, resolveGrpo } from './config.js';
import type { GrpoEnd } from './events.js';
import { type Own, openJudged } from './open.js';
import { type GrpoHooks, grpo } from './run.js';

/** What a program gives a run besides its settings. */
export interface TrainGrpoHooks extends GrpoHooks, Own {}

/**
 * Trains a model by group relative policy optimization. Run again on the same folder, it goes on where it stopped.
 *
 *     await trainGrpo(
 *       { model: 'runs/chat', task: 'arith', algorithm: 'dapo', out: 'runs/grpo' },
 *       { rewards: { brief: ({ completion }) => 1 / (1 + completion.length) } },
 *     );
 *
 * Rewards of the settings (`reward: ['math', './mine.js', 'model:runs/helpful']`) run in processes that are killed when they
 * hang; those that are given as functions run here. Without either, the task's own are taken.
 * @throws as grpo(), and `bad-config` with every setting that does not fit
 */
export async function trainGrpo(
  { algorithm, ...settings }: GrpoInput & { readonly algorithm?: Algorithm },
  hooks: TrainGrpoHooks = {},
): Promise<GrpoEnd> {
  return grpo(resolveGrpo(settings, algorithm), (config, tokenizer) => openJudged(config, tokenizer, hooks), hooks);
}
