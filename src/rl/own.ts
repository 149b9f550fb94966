import { describeThrown, toResult } from './rewards/graders/result.js';
import { type RewardResult, type Sample, skip } from './rewards/types.js';

/** What a reward may say: a number, true for 1 and false for 0, or a result with its log or a reason to skip the sample. */
type Judgement = number | boolean | RewardResult;

/**
 * A reward of a program's own. It judges in the process that trains, where no deadline ends it: it must come to an end. What it
 * throws, and what is no finite number, costs the sample, never the run.
 */
export type RewardFunction = (sample: Sample) => Judgement | Promise<Judgement>;

/** results[sample][reward], all samples at once. */
export function judgeHere(rewards: readonly RewardFunction[], samples: readonly Sample[]): Promise<RewardResult[][]> {
  return Promise.all(samples.map((sample) => Promise.all(rewards.map((reward) => judged(reward, sample)))));
}

async function judged(reward: RewardFunction, sample: Sample): Promise<RewardResult> {
  try {
    return toResult(await reward(sample));
  } catch (thrown) {
    return skip(describeThrown(thrown));
  }
}
