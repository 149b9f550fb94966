import type { Tensor } from '../tensor/index.js';
import { type HostLoss, hostLoss } from './host_loss.js';
import { logSigmoid, sigmoid } from './sigmoid.js';

export interface DpoObjective {
  /** How closely the policy is held to the reference. 0.1 in the paper's experiments. */
  readonly beta: number;
  /**
   * With h = beta * margin, margin = log pi/ref(chosen) - log pi/ref(rejected):
   * sigmoid: -(1 - smoothing) log sigmoid(h) - smoothing log sigmoid(-h) (Rafailov et al., arXiv:2305.18290; smoothing as in
   * Mitchell's conservative DPO). ipo: (margin - 1 / (2 beta))^2 (Azar et al., arXiv:2310.12036). hinge: max(0, 1 - h)
   * (Zhao et al., arXiv:2305.10425).
   */
  readonly kind: 'sigmoid' | 'ipo' | 'hinge';
  /** Share of the labels that is thought to be wrong; of `sigmoid` only. */
  readonly smoothing: number;
}

/** log pi of whole completions, chosen and rejected in turn: [2N]. */
export interface DpoBatch {
  /** The same under the reference; undefined: none, which stands for one that finds all completions equally likely. */
  readonly reference?: ArrayLike<number> | undefined;
  /** Pairs of the whole update: what the sum is divided by. */
  readonly total: number;
}

export interface DpoValue extends HostLoss {
  /** [2N] beta log(pi / ref): the rewards that the policy implies. */
  readonly rewards: Float64Array;
}

/** Direct preference optimization: the loss of N pairs and its derivative with respect to log pi of each completion. */
export function dpoGradient(logProbs: ArrayLike<number>, batch: DpoBatch, o: DpoObjective): DpoValue {
  const { reference, total } = batch;
  const gradient = new Float64Array(logProbs.length);
  const rewards = new Float64Array(logProbs.length);
  let loss = 0;
  for (let i = 0; i < logProbs.length; i++) rewards[i] = o.beta * (logProbs[i]! - (reference?.[i] ?? 0));
  for (let i = 0; i < logProbs.length; i += 2) {
    const { value, slope } = term(rewards[i]! - rewards[i + 1]!, o);
    loss += value / total;
    gradient[i] = (o.beta * slope) / total;
    gradient[i + 1] = -(o.beta * slope) / total;
  }
  return { loss, gradient, rewards };
}

/** Loss of one pair and its derivative with respect to h. */
function term(h: number, { kind, beta, smoothing }: DpoObjective): { readonly value: number; readonly slope: number } {
  if (kind === 'hinge') return h < 1 ? { value: 1 - h, slope: -1 } : { value: 0, slope: 0 };
  if (kind === 'ipo') {
    const off = h / beta - 1 / (2 * beta);
    return { value: off * off, slope: (2 * off) / beta };
  }
  return {
    value: -(1 - smoothing) * logSigmoid(h) - smoothing * logSigmoid(-h),
    slope: smoothing * sigmoid(h) - (1 - smoothing) * sigmoid(-h),
  };
}

/**
 * dpoGradient() as an op. `nll` [T] f32 is -log pi of single tokens: `rows[starts[i] .. starts[i+1]]` are those of completion
 * i. `average` takes means over the tokens of a completion instead of sums.
 */
export function dpoLoss(
  nll: Tensor,
  rows: Int32Array,
  starts: Int32Array,
  batch: DpoBatch,
  objective: DpoObjective,
  average = false,
): DpoValue & { readonly root: Tensor; readonly logProbs: Float64Array } {
  return hostLoss('dpo_loss', nll, rows, (values) => {
    const logProbs = sequenceLogProbs(values, starts, average);
    const value = dpoGradient(logProbs, batch, objective);
    const gradient = new Float64Array(rows.length);
    for (let i = 0; i < logProbs.length; i++)
      gradient.fill(-value.gradient[i]! / divisor(starts, i, average), starts[i], starts[i + 1]);
    return { ...value, gradient, logProbs };
  });
}

/** log pi of each completion: minus the sum (or mean) of -log pi over its tokens. */
export function sequenceLogProbs(nll: ArrayLike<number>, starts: Int32Array, average: boolean): Float64Array {
  return Float64Array.from({ length: starts.length - 1 }, (_, i) => {
    let sum = 0;
    for (let t = starts[i]!; t < starts[i + 1]!; t++) sum -= nll[t]!;
    return sum / divisor(starts, i, average);
  });
}

const divisor = (starts: Int32Array, i: number, average: boolean): number =>
  average ? Math.max(starts[i + 1]! - starts[i]!, 1) : 1;
