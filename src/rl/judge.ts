import { groupAdvantages, isFlat, overlongPenalty } from './advantage.js';
import type { GrpoConfig } from './config.js';
import { combine } from './rewards/combine.js';
import { type BatchOptions, isSkipped } from './rewards/types.js';
import type { Graded, Grader, Group, Sample } from './sample.js';

export type JudgeOptions = Pick<GrpoConfig, 'advantage' | 'maxTokens' | 'overlong' | 'overlongBuffer'> & BatchOptions;

/** Rewards completions and compares those of each question with each other. result[i] belongs to sampled[i]. */
export async function judge(
  sampled: readonly (readonly Sample[])[],
  grader: Grader,
  o: JudgeOptions,
): Promise<Group[]> {
  const weights = grader.rewards.map(({ weight }) => weight);
  const results = await grader.grade(sampled.flat(), o);
  let at = 0;
  return sampled.map((samples): Group => {
    const own = results.slice(at, at + samples.length);
    at += samples.length;
    const rewards = samples.map((sample, i) => {
      const sum = combine(own[i]!, weights);
      if (isSkipped(sum)) return undefined;
      return (
        sum.value + (o.overlong === 'punish' ? overlongPenalty(sample.ids.length, o.maxTokens, o.overlongBuffer) : 0)
      );
    });
    const advantages = groupAdvantages(rewards, o.advantage);
    const graded = samples.map(
      (sample, i): Graded => ({ ...sample, results: own[i]!, reward: rewards[i], advantage: advantages[i]! }),
    );
    return { question: samples[0]!.question, samples: graded, flat: isFlat(rewards) };
  });
}

/** True when the first reward, which says right or wrong, is more than half; undefined when it was skipped. */
export function isRight({ results }: Pick<Graded, 'results'>): boolean | undefined {
  const [first] = results;
  return first && !isSkipped(first) ? first.value > 0.5 : undefined;
}
