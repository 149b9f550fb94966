import type { KlEstimator, PolicyBatch, PolicyObjective, PolicyStats } from '../../src/ops/policy_loss.js';

/*
 * The definition of the policy loss in float64, written apart from the kernels.
 */

/** Plain PPO, averaged as GRPO does: what the tests vary. */
export const PPO: PolicyObjective = {
  clipLow: 0.2,
  clipHigh: 0.2,
  ratio: 'token',
  kl: 0,
  klEstimator: 'k3',
  aggregation: 'sequence',
};

/** A batch whose log-probabilities may be of any precision. */
export type ReferenceBatch = Pick<PolicyBatch, 'starts' | 'advantages' | 'total'> & {
  readonly [name in 'old' | 'reference' | 'rollout']?: ArrayLike<number> | undefined;
};

export interface PolicyValue {
  readonly loss: number;
  readonly tokenLoss: Float64Array; // [R] before aggregation
  readonly gradient: Float64Array; // [R] d loss / d log pi
  readonly stats: PolicyStats;
}

/** exp of more than this is no ratio any more; beyond it the term is constant. */
const LARGEST_LOG = 20;
const bounded = (x: number): number => Math.min(Math.max(x, -LARGEST_LOG), LARGEST_LOG);
const k3 = (x: number): number => Math.exp(bounded(x)) - bounded(x) - 1;

/**
 * The clipped policy-gradient loss with a KL penalty, and its gradient with respect to the log-probabilities:
 *
 *     rho_t  = pi(t) / pi_old(t)
 *     loss_t = -w_t min(rho_t A, clip(rho_t, 1 - low, 1 + high) A) + beta KL_t
 *     loss   = sum over samples i, tokens t of c_i loss_t,   c_i by `aggregation`
 *
 * where w_t is the importance weight of `rolloutCap`, or 0 throughout a sample that `offPolicyMask` leaves out.
 */
export function policyGradient(logProbs: ArrayLike<number>, batch: ReferenceBatch, o: PolicyObjective): PolicyValue {
  const { starts, advantages, old = logProbs, reference, rollout } = batch;
  const tokenLoss = new Float64Array(logProbs.length);
  const gradient = new Float64Array(logProbs.length);
  const stats = { tokens: 0, clippedLow: 0, clippedHigh: 0, dualClipped: 0, capped: 0, masked: 0, kl: 0, moved: 0 };
  let loss = 0;
  for (let i = 0; i < advantages.length; i++) {
    const [start, end] = [starts[i]!, starts[i + 1]!];
    const advantage = advantages[i]!;
    const share = shareOf(end - start, batch.total, o.aggregation);
    const whole = o.ratio === 'sequence';
    const logRatio = whole ? meanDifference(logProbs, old, start, end) : 0;
    const drift = whole && rollout ? meanDifference(old, rollout, start, end) : 0;
    const stale =
      o.offPolicyMask !== undefined &&
      advantage < 0 &&
      meanDifference(rollout ?? old, logProbs, start, end) > o.offPolicyMask;
    if (stale) stats.masked += end - start;
    for (let t = start; t < end; t++) {
      const moved = logProbs[t]! - old[t]!;
      const term = stale ? NONE : surrogate(whole ? logRatio : moved, advantage, o);
      const weight = o.rolloutCap && rollout ? Math.exp(bounded(whole ? drift : old[t]! - rollout[t]!)) : 1;
      const held = o.rolloutCap !== undefined && weight > o.rolloutCap;
      const w = held ? o.rolloutCap! : weight;
      const penalty = o.kl && reference ? divergence(reference[t]! - logProbs[t]!, moved, o.klEstimator) : NONE;
      tokenLoss[t] = w * term.value + o.kl * penalty.value;
      gradient[t] = share * (w * term.slope + o.kl * penalty.slope);
      loss += share * tokenLoss[t]!;
      if (term.clip) stats[term.clip]++;
      if (held) stats.capped++;
      if (reference) stats.kl += k3(reference[t]! - logProbs[t]!);
      stats.moved += k3(moved);
    }
    stats.tokens += end - start;
  }
  return { loss, tokenLoss, gradient, stats };
}

/** Factor of one token's loss in the sum. */
function shareOf(length: number, total: PolicyBatch['total'], how: PolicyObjective['aggregation']): number {
  if (how === 'token') return 1 / total.tokens;
  return 1 / (total.samples * (how === 'sequence' ? length : total.maxTokens));
}

/** A value and its derivative with respect to the token's log pi. */
interface Term {
  readonly value: number;
  readonly slope: number;
  readonly clip?: 'clippedLow' | 'clippedHigh' | 'dualClipped';
}

const NONE: Term = { value: 0, slope: 0 };

/**
 * -min(rho A, clip(rho) A) and its derivative. For a ratio per sequence the value stands in each of its tokens, so that the
 * derivative of their sum with respect to one log pi is again -rho A: `length` terms, each with a `length`-th of it.
 */
function surrogate(logRatio: number, advantage: number, o: PolicyObjective): Term {
  const ratio = Math.exp(bounded(logRatio));
  if (advantage > 0) {
    if (ratio > 1 + o.clipHigh) return { value: -(1 + o.clipHigh) * advantage, slope: 0, clip: 'clippedHigh' };
  } else if (ratio < 1 - o.clipLow) return { value: -(1 - o.clipLow) * advantage, slope: 0, clip: 'clippedLow' };
  else if (o.dualClip && advantage < 0 && ratio > o.dualClip)
    return { value: -o.dualClip * advantage, slope: 0, clip: 'dualClipped' };
  return { value: -ratio * advantage, slope: Math.abs(logRatio) > LARGEST_LOG ? 0 : -ratio * advantage };
}

/** The estimate of KL(pi || pi_ref) from one token, x = ln(pi_ref / pi). Beyond the bound on exponents it is constant. */
function divergence(x: number, moved: number, estimator: KlEstimator): Term {
  if (estimator === 'k1') return { value: -x, slope: 1 };
  if (estimator === 'k2') return { value: (x * x) / 2, slope: -x };
  const value = k3(x);
  const slope = Math.abs(x) > LARGEST_LOG ? 0 : 1 - Math.exp(x);
  if (estimator === 'k3') return { value, slope };
  const ratio = Math.exp(bounded(moved));
  return { value: ratio * value, slope: ratio * (slope + (Math.abs(moved) > LARGEST_LOG ? 0 : value)) };
}

function meanDifference(a: ArrayLike<number>, b: ArrayLike<number>, start: number, end: number): number {
  let sum = 0;
  for (let t = start; t < end; t++) sum += a[t]! - b[t]!;
  return sum / (end - start);
}
