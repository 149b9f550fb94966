import type { PreferenceBatch, PreferenceObjective } from '../../src/ops/preference_loss.js';
import { sigmoid } from '../../src/ops/sigmoid.js';

/*
 * The definitions of the losses on preferences in float64, written apart from the kernels.
 */

interface PreferenceValue {
  readonly loss: number;
  readonly gradient: Float64Array; // [S] by value
}

/** Direct preference optimization: the loss of N pairs and its derivative with respect to log pi of each completion. */
function dpoGradient(logProbs: ArrayLike<number>, batch: PreferenceBatch, o: PreferenceObjective): PreferenceValue {
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
  return { loss, gradient };
}

/** Loss of one pair and its derivative with respect to h. */
function term(
  h: number,
  { kind, beta, smoothing = 0 }: PreferenceObjective,
): { readonly value: number; readonly slope: number } {
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
 * How likely the scores make the choice of a person, after Bradley and Terry (Ouyang et al., arXiv:2203.02155, section 3.5):
 *
 *     loss = 1/total sum_i [ -log sigmoid(chosen_i - rejected_i - margin_i) + center (chosen_i + rejected_i)^2 ]
 *
 * scores [2N]: chosen and rejected in turn, and so is the gradient.
 */
function pairwiseReward(scores: ArrayLike<number>, o: PreferenceBatch & { readonly center?: number }): PreferenceValue {
  const gradient = new Float64Array(scores.length);
  const { center = 0, total } = o;
  let loss = 0;
  for (let i = 0; i < scores.length; i += 2) {
    const [chosen, rejected] = [scores[i]!, scores[i + 1]!];
    const lead = chosen - rejected - (o.targets?.[i / 2] ?? 0);
    const pull = 2 * center * (chosen + rejected);
    loss += -logSigmoid(lead) + center * (chosen + rejected) ** 2;
    gradient[i] = (pull - sigmoid(-lead)) / total;
    gradient[i + 1] = (pull + sigmoid(-lead)) / total;
  }
  return { loss: loss / total, gradient };
}

/**
 * Binary cross-entropy of labels (1 good or safe, 0 not) under sigmoid(score), the pointwise loss of DeepSeek-R1's safety
 * reward (arXiv:2501.12948, section 3.1):
 *
 *     loss = 1/total sum_i [ -y_i log sigmoid(s_i) - (1 - y_i) log sigmoid(-s_i) ]
 */
function pointwiseReward(scores: ArrayLike<number>, labels: ArrayLike<number>, total: number): PreferenceValue {
  const gradient = new Float64Array(scores.length);
  let loss = 0;
  for (let i = 0; i < scores.length; i++) {
    loss -= labels[i]! * logSigmoid(scores[i]!) + (1 - labels[i]!) * logSigmoid(-scores[i]!);
    gradient[i] = (sigmoid(scores[i]!) - labels[i]!) / total;
  }
  return { loss: loss / total, gradient };
}

/** log sigmoid(x), exact also where sigmoid(x) rounds to 0 or 1. */
const logSigmoid = (x: number): number => Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x)));

/** Any of the losses. */
export function definition(values: ArrayLike<number>, batch: PreferenceBatch, o: PreferenceObjective): PreferenceValue {
  if (o.kind === 'pointwise') return pointwiseReward(values, batch.targets!, batch.total);
  if (batch.targets || o.center) return pairwiseReward(values, { ...batch, center: o.center ?? 0 });
  return dpoGradient(values, batch, o);
}
