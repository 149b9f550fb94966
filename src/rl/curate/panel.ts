import { openJudges } from '../judges.js';
import { judgeable } from '../open.js';
import { combine } from '../rewards/combine.js';
import { openGraders } from '../rewards/index.js';
import { isSkipped, type RewardResult, type RewardSpec } from '../rewards/types.js';
import type { Grader } from '../sample.js';
import type { CurateConfig } from './config.js';
import type { Reason } from './filters.js';

/** Rewards and patterns that judge completions, in graders that can be killed. */
export interface Panel extends Grader {
  /** The first reward says right or wrong; else only minReward does. */
  readonly firstDecides: boolean;
  readonly minReward: number | undefined;
  /** Patterns: results behind those of the rewards, each 1 where it is found. */
  readonly patterns: readonly { readonly wanted: boolean }[];
  close(): void;
}

/**
 * Starts the graders of these rewards and of the settings' patterns, which run there because a pattern may never come to
 * an end on a text it was not made for. Undefined where there is nothing to be judged.
 */
export async function openPanel(
  config: CurateConfig,
  specs: readonly RewardSpec[],
  firstDecides: boolean,
  open = openGraders,
): Promise<Panel | undefined> {
  const { require, forbid, rewardWeights, minReward } = config;
  const patterns = [...require, ...forbid].map((pattern, i) => ({ pattern, wanted: i < require.length }));
  const finders = patterns.map(({ pattern }) => ({ name: 'regex', options: { pattern, flags: 'u' } }));
  if (specs.length + finders.length === 0) return undefined;
  const judges = await openJudges([...specs, ...finders], config, open);
  return {
    rewards: specs.map((_, i) => ({ name: judges.names[i]!, weight: rewardWeights[i] ?? 1 })),
    firstDecides,
    minReward,
    patterns,
    grade: (samples, options) => judges.grade(samples.map(judgeable), options),
    close: judges.close,
  };
}

/** What the panel says of one completion. */
interface Judgement {
  readonly right: boolean;
  readonly verdict: Reason | undefined;
  /** The weighted sum, and each reward by its name; undefined where there are none or one failed. */
  readonly reward: number | undefined;
  readonly rewards: Readonly<Record<string, number>> | undefined;
}

/** The first thing that speaks against a completion. */
export function reasonAgainst(panel: Panel, results: readonly RewardResult[]): Judgement {
  const { rewards: asked, patterns, minReward, firstDecides } = panel;
  const own = results.slice(0, asked.length);
  const values = own.map((result) => (isSkipped(result) ? Number.NaN : result.value));
  const sum = combine(
    own,
    asked.map(({ weight }) => weight),
  );
  const right = asked.length === 0 || !firstDecides || values[0]! > 0.5;
  const misses = results.slice(asked.length).some((result, i) => {
    return !isSkipped(result) && result.value > 0.5 !== patterns[i]!.wanted;
  });
  const verdict = (): Reason | undefined => {
    if (results.some(isSkipped)) return 'ungraded';
    if (!right) return 'wrong';
    if (asked.some(({ name }, i) => name === 'format' && values[i]! <= 0.5)) return 'malformed';
    if (minReward !== undefined && !isSkipped(sum) && sum.value < minReward) return 'reward';
    return misses ? 'pattern' : undefined;
  };
  const known = asked.length > 0 && !isSkipped(sum);
  return {
    right: right && (known || asked.length === 0),
    verdict: verdict(),
    reward: known ? sum.value : undefined,
    rewards: known ? Object.fromEntries(asked.map(({ name }, i) => [name, values[i]!])) : undefined,
  };
}
