import { existsSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { TrainMoeError } from '../../errors.js';
import { math, number } from './builtin/answers.js';
import { code } from './builtin/code.js';
import { countdown } from './builtin/countdown.js';
import { language } from './builtin/language.js';
import { exact, format, length, regex } from './builtin/text.js';
import type { Reward, RewardResult, RewardSpec, Sample } from './types.js';

/** The built-in rewards. To add one, write a function from options to a Reward and name it here. */
const BUILT_IN = { exact, number, math, format, length, language, regex, code, countdown } as const;

/** Names of the built-in rewards. */
export const rewardNames: readonly string[] = Object.keys(BUILT_IN);

/** Whether a reward's or task's name is the path of a module. */
export const isPath = (name: string): boolean => /[/\\]|\.[cm]?js$/.test(name);

/**
 * The reward of a spec. A module's default export is a function of the sample, or an object with `score`; what a
 * function returns may be a number.
 * @throws TrainMoeError for an unknown name, options that do not fit, or a module that is no reward
 */
export async function createReward(spec: RewardSpec): Promise<Reward> {
  if (isPath(spec.name)) return await loadReward(spec);
  if (!Object.hasOwn(BUILT_IN, spec.name)) {
    throw new TrainMoeError(
      'bad-config',
      `There is no reward "${spec.name}"; the built-in ones are ${rewardNames.join(', ')}, model:DIR is a reward model, and a path like ./mine.js names your own.`,
    );
  }
  const make = BUILT_IN[spec.name as keyof typeof BUILT_IN] as (options?: RewardSpec['options']) => Reward;
  return make(spec.options);
}

async function loadReward({ name, options }: RewardSpec): Promise<Reward> {
  const exported = await importDefault(name, 'reward');
  if (typeof exported === 'function') {
    const score = exported as (sample: Sample, options?: unknown) => RewardResult;
    return { name: path.parse(name).name, score: (sample) => score(sample, options) };
  }
  if (typeof (exported as Partial<Reward> | null)?.score !== 'function') {
    throw new TrainMoeError(
      'bad-config',
      `${name} exports no reward; its default export must be a function (sample) => number, or an object with a function "score".`,
    );
  }
  const reward = exported as Reward;
  return reward.name ? reward : Object.assign(Object.create(reward), { name: path.parse(name).name });
}

/** The default export of a user's module. @throws TrainMoeError where it is missing or fails */
export async function importDefault(file: string, kind: string): Promise<unknown> {
  const absolute = path.resolve(file);
  if (!existsSync(absolute)) throw new TrainMoeError('not-found', `The ${kind} module ${absolute} does not exist.`);
  let loaded: { default?: unknown };
  try {
    loaded = await import(pathToFileURL(absolute).href);
  } catch (error) {
    throw new TrainMoeError(
      'bad-config',
      `The ${kind} module ${absolute} could not be loaded: ${String((error as Error)?.message ?? error)}.`,
      { cause: error },
    );
  }
  if (loaded.default === undefined)
    throw new TrainMoeError('bad-config', `The ${kind} module ${absolute} has no default export.`);
  return loaded.default;
}
