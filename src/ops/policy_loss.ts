import * as native from '../native.gen.js';
import { empty, from, grad, recording, recordRoot, type Tensor } from '../tensor/index.js';

/** How far one update may move the policy away from the one that sampled, and what pulls it back. */
export interface PolicyObjective {
  /** The ratio is kept in [1 - clipLow, 1 + clipHigh]. PPO, arXiv:1707.06347; apart from each other: DAPO, arXiv:2503.14476. */
  readonly clipLow: number;
  readonly clipHigh: number;
  /** Bounds the loss of a token with A < 0 by dualClip * |A|. Ye et al., arXiv:1912.09729. Undefined: no bound. */
  readonly dualClip?: number | undefined;
  /** Ratios of tokens, or one per sequence: (pi / pi_old)^(1/length). GSPO, arXiv:2507.18071. */
  readonly ratio: 'token' | 'sequence';
  /** Beta; 0 leaves the term out. */
  readonly kl: number;
  readonly klEstimator: KlEstimator;
  /**
   * sequence: mean over samples of the mean over their tokens (GRPO). token: mean over all tokens (DAPO). constant: sum over
   * all tokens / (samples * maxTokens), without the bias of 1/length (Dr. GRPO, arXiv:2503.20783).
   */
  readonly aggregation: 'sequence' | 'token' | 'constant';
  /** Truncated importance sampling: a token's term is multiplied by min(pi_old / pi_rollout, cap). Undefined: not at all. */
  readonly rolloutCap?: number | undefined;
  /**
   * Off-policy sequence mask: a sample with A < 0 whose mean ln(pi_sampled / pi) exceeds this has no policy term, since it
   * says little about the policy as it has become. DeepSeek-V3.2, section 3.1. Undefined: not at all.
   */
  readonly offPolicyMask?: number | undefined;
}

/**
 * With x = ln(pi_ref / pi): k1 = -x, k2 = x^2 / 2, k3 = exp(x) - x - 1 (Schulman, "Approximating KL divergence").
 * `k3-unbiased` is k3 * pi / pi_old, whose gradient is that of KL(pi || pi_ref) and stays bounded where pi << pi_ref
 * (DeepSeek-V3.2, section 3.1).
 */
export type KlEstimator = 'k1' | 'k2' | 'k3' | 'k3-unbiased';

/** Completions laid end to end: R tokens of S samples. Log-probabilities are of the sampled tokens, in nats. */
export interface PolicyBatch {
  /** [S+1] first token of each sample. */
  readonly starts: Int32Array;
  /** [S] */
  readonly advantages: Float64Array;
  /** [R] under the policy before the first update on these samples; undefined: this is the first, so it is pi itself. */
  readonly old?: Float32Array | undefined;
  /** [R] */
  readonly reference?: Float32Array | undefined;
  /** [R] as the sampler gave them. */
  readonly rollout?: Float32Array | undefined;
  /** What the sums are divided by: counts of the whole update, so that cutting it into parts changes nothing. */
  readonly total: { readonly samples: number; readonly tokens: number; readonly maxTokens: number };
}

/** Sums over tokens, which add up over the parts of an update. */
export interface PolicyStats {
  readonly tokens: number;
  /** A <= 0 and ratio < 1 - clipLow. */
  readonly clippedLow: number;
  /** A > 0 and ratio > 1 + clipHigh. */
  readonly clippedHigh: number;
  readonly dualClipped: number;
  /** Importance weights that reached rolloutCap. */
  readonly capped: number;
  /** Tokens of samples that offPolicyMask leaves out. */
  readonly masked: number;
  /** k3 against the reference. */
  readonly kl: number;
  /** k3 of the old policy against this one: how far the updates went. */
  readonly moved: number;
}

/** The statistics in the order in which the op gives them. */
const FIGURES = [
  'tokens',
  'clippedLow',
  'clippedHigh',
  'dualClipped',
  'capped',
  'masked',
  'kl',
  'moved',
] as const satisfies readonly (keyof PolicyStats)[];

/** The statistics of policyLoss(), read from the device. */
export const policyStats = (values: ArrayLike<number>): PolicyStats =>
  Object.fromEntries(FIGURES.map((name, i) => [name, values[i]])) as unknown as PolicyStats;

const ESTIMATORS = ['k1', 'k2', 'k3', 'k3-unbiased'] as const satisfies readonly KlEstimator[];

/**
 * The clipped policy-gradient loss with a KL penalty:
 *
 *     rho_t  = pi(t) / pi_old(t)
 *     loss_t = -w_t min(rho_t A, clip(rho_t, 1 - low, 1 + high) A) + beta KL_t
 *     loss   = sum over samples i, tokens t of c_i loss_t,   c_i by `aggregation`
 *
 * where w_t is the importance weight of `rolloutCap`, or 0 throughout a sample that `offPolicyMask` leaves out. `nll` [T] f32 is
 * -log pi, of which row `rows[r]` belongs to token r of the batch; rows rise, and those that are not named get no gradient.
 *
 * -> the loss [1] f64, a root of the backward pass, and the statistics [8] f64 for policyStats(). All of it stays on the device.
 */
export function policyLoss(
  nll: Tensor,
  rows: Int32Array,
  batch: PolicyBatch,
  o: PolicyObjective,
): { readonly loss: Tensor; readonly stats: Tensor } {
  const { device } = nll;
  const place = (values: Float32Array | undefined) => values && from(values, undefined, { device });
  const loss = empty([1], { dtype: 'f64', device });
  const stats = empty([FIGURES.length], { dtype: 'f64', device });
  const dnll = recording() && nll.requiresGrad ? empty(nll.shape, nll) : undefined;
  native.policyLoss(
    loss,
    stats,
    { id: dnll?.id ?? 0, beta: 0 },
    nll,
    from(rows, undefined, { device }),
    from(batch.advantages, undefined, { device }),
    from(batch.starts, undefined, { device }),
    place(batch.old),
    place(batch.reference),
    place(batch.rollout),
    o.clipLow,
    o.clipHigh,
    o.dualClip || Number.POSITIVE_INFINITY,
    o.ratio === 'sequence',
    o.rolloutCap ?? 0,
    o.offPolicyMask ?? Number.POSITIVE_INFINITY,
    o.kl,
    ESTIMATORS.indexOf(o.klEstimator),
    divisorOf(batch.total, o.aggregation),
    o.aggregation === 'sequence',
  );
  if (dnll) recordRoot('policy_loss', [nll], () => native.axpy(grad(nll), dnll, 1));
  return { loss, stats };
}

/** What a token's loss is divided by; for `sequence` by its sample's length as well. */
function divisorOf({ samples, tokens, maxTokens }: PolicyBatch['total'], how: PolicyObjective['aggregation']): number {
  if (how === 'token') return tokens;
  return how === 'sequence' ? samples : samples * maxTokens;
}
