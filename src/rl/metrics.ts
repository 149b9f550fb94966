import { moments } from './advantage.js';
import type { TaskScore } from './evaluate.js';
import type { StepOutcome } from './grpo.js';
import { isRight } from './judge.js';
import { isSkipped } from './rewards/types.js';
import type { Grader } from './sample.js';
import { sumStats } from './update.js';

/** The figures of a step, under the names that people look for. Losses and entropies in nats, lengths in tokens. */
export function stepMetrics(outcome: StepOutcome, rewards: Grader['rewards']): Record<string, number> {
  return {
    ...rewardMetrics(outcome, rewards),
    ...completionMetrics(outcome),
    ...policyMetrics(outcome),
    'rollout/logprob_abs_diff': outcome.mismatch.mean,
    'rollout/logprob_abs_diff_max': outcome.mismatch.max,
    ...speedMetrics(outcome),
  };
}

function rewardMetrics({ groups, replaced }: StepOutcome, rewards: Grader['rewards']): Record<string, number> {
  const samples = groups.flatMap((group) => group.samples);
  const known = samples.map(({ reward }) => reward).filter((r) => r !== undefined);
  const total = moments(known);
  const verdicts = groups.map((group) => group.samples.map(isRight).filter((right) => right !== undefined));
  const byReward = rewards.flatMap(({ name }, i) => {
    const values = samples.flatMap(({ results }) => (isSkipped(results[i]!) ? [] : [results[i].value]));
    const { mean, std } = moments(values);
    return [[`reward/${name}/mean`, mean] as const, [`reward/${name}/std`, std] as const];
  });
  return {
    'reward/mean': total.mean,
    'reward/std': total.std,
    ...Object.fromEntries(byReward),
    'reward/skipped': 1 - known.length / samples.length,
    'reward/zero_variance': share(groups, ({ flat }) => flat),
    'reward/groups_replaced': replaced,
    accuracy: share(verdicts.flat(), (right) => right),
    'pass@group': share(
      verdicts.filter((v) => v.length > 0),
      (v) => v.includes(true),
    ),
  };
}

function completionMetrics({ groups }: StepOutcome): Record<string, number> {
  const samples = groups.flatMap((group) => group.samples);
  const lengths = samples.map(({ ids }) => ids.length);
  return {
    'completion/length_mean': moments(lengths).mean,
    'completion/length_min': Math.min(...lengths),
    'completion/length_max': Math.max(...lengths),
    'completion/truncated': share(samples, ({ finish }) => finish === 'length'),
  };
}

function policyMetrics({ updates }: StepOutcome): Record<string, number> {
  if (updates.length === 0) return {};
  const stats = sumStats(updates.map((u) => u.stats));
  const per = (count: number) => count / stats.tokens;
  const tokens = updates.map((u) => u.stats.tokens);
  return {
    'policy/loss': moments(updates.map((u) => u.loss)).mean,
    'policy/entropy': updates.reduce((sum, u, i) => sum + u.entropy * tokens[i]!, 0) / stats.tokens,
    'policy/kl_reference': per(stats.kl),
    'policy/kl_old': per(stats.moved),
    'policy/clip_low': per(stats.clippedLow),
    'policy/clip_high': per(stats.clippedHigh),
    'policy/clip_dual': per(stats.dualClipped),
    'policy/importance_capped': per(stats.capped),
    'policy/off_policy_masked': per(stats.masked),
    'policy/grad_norm': moments(updates.map((u) => u.gradNorm)).mean,
    'policy/lr': updates.at(-1)!.lr,
    'policy/updates': updates.length,
  };
}

function speedMetrics({ seconds, sampledTokens, updates, groups }: StepOutcome): Record<string, number> {
  const whole = Object.values(seconds).reduce((a, b) => a + b, 0);
  const samples = groups.flatMap((g) => g.samples);
  const tokens = {
    rollout: sampledTokens,
    reward: sampledTokens,
    score: samples.reduce((n, { ids }) => n + ids.length, 0), // of the completions that are kept
    train: updates.reduce((n, u) => n + u.stats.tokens, 0),
  };
  const rates = Object.entries(seconds).flatMap(([phase, s]): [string, number][] =>
    s > 0 ? [[`speed/${phase}_tokens_per_second`, tokens[phase as keyof typeof tokens] / s]] : [],
  );
  return {
    'speed/completions_per_second': samples.length / whole,
    ...Object.fromEntries(rates),
    ...Object.fromEntries(Object.entries(seconds).map(([phase, s]) => [`speed/${phase}_seconds`, s])),
    'speed/step_seconds': whole,
  };
}

/** The figures of an evaluation. */
export function scoreMetrics(score: TaskScore): Record<string, number> {
  return {
    'test/accuracy': score.accuracy,
    'test/reward': score.reward,
    'test/length_mean': score.length,
    'test/truncated': score.truncated,
    ...Object.fromEntries(score.passAt.map(([k, value]) => [`test/pass@${k}`, value])),
  };
}

function share<T>(values: readonly T[], holds: (value: T) => boolean): number {
  return values.filter(holds).length / Math.max(values.length, 1);
}
