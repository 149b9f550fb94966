import * as native from '../native.gen.js';
import { type Device, device as deviceOf, empty, from, grad, recordRoot, scope, type Tensor } from '../tensor/index.js';

/**
 * What is made of h = beta (value - reference) and the lead of the chosen side, h_chosen - h_rejected - margin:
 *
 *     sigmoid:    -(1 - smoothing) log sigmoid(lead) - smoothing log sigmoid(-lead) + center (h_chosen + h_rejected)^2
 *     ipo:        (lead / beta - 1 / (2 beta))^2                                 (Azar et al., arXiv:2310.12036)
 *     hinge:      max(0, 1 - lead)                                               (Zhao et al., arXiv:2305.10425)
 *     pointwise:  -y log sigmoid(h) - (1 - y) log sigmoid(-h), of single answers (DeepSeek-R1, arXiv:2501.12948, section 3.1)
 *
 * sigmoid is direct preference optimization where values are log-probabilities (Rafailov et al., arXiv:2305.18290; smoothing as
 * in Mitchell's conservative DPO), and the likelihood of Bradley and Terry where they are scores (Ouyang et al.,
 * arXiv:2203.02155, section 3.5).
 */
export interface PreferenceObjective {
  readonly kind: 'sigmoid' | 'ipo' | 'hinge' | 'pointwise';
  /** How closely a policy is held to its reference: 0.1 in DPO's experiments. 1 for scores. */
  readonly beta: number;
  /** Share of the labels that is thought to be wrong. */
  readonly smoothing?: number;
  /** Weight of the square that keeps scores around 0. Eisenstein et al., arXiv:2312.09244, section 2. */
  readonly center?: number | undefined;
}

/** Answers: of pairs, chosen and rejected in turn. */
export interface PreferenceBatch {
  /** [S] values under the reference; undefined: none, which stands for one that finds all answers equally good. */
  readonly reference?: ArrayLike<number> | undefined;
  /** [S/2] by how much the chosen side should win (Llama 2, arXiv:2307.09288, section 3.2.2); of `pointwise` [S] labels, 0 to 1. */
  readonly targets?: ArrayLike<number> | undefined;
  /** Pairs or answers of the whole update: what the sum is divided by, so that cutting it into parts changes nothing. */
  readonly total: number;
}

/** How an answer's value is read off a tensor x: factor * sum of x[rows[t]] over its tokens t, starts[i] <= t < starts[i+1]. */
export interface Answers {
  /** [R], which rise. */
  readonly rows: Int32Array;
  /** [S+1] */
  readonly starts: Int32Array;
  readonly factor: number;
  /** Means over tokens instead of sums. */
  readonly average: boolean;
}

const KINDS = ['sigmoid', 'ipo', 'hinge', 'pointwise'] as const satisfies readonly PreferenceObjective['kind'][];

/** log pi of answers, from -log pi of their tokens. */
export const logProbsOfAnswers = (rows: Int32Array, starts: Int32Array, average: boolean): Answers => {
  return { rows, starts, factor: -1, average };
};

/** Scores, each read at one row. */
export const scoresAt = (rows: Int32Array): Answers => {
  return { rows, starts: Int32Array.from({ length: rows.length + 1 }, (_, i) => i), factor: 1, average: false };
};

/** Values of answers, x [T] f32 -> [S] f64. Not differentiable: preferenceLoss() is. */
export function answerValues(x: Tensor, answers: Answers): Tensor {
  return scope(() => valuesAt(x, placed(answers, x.device), answers));
}

/**
 * The loss of answers whose values are read off x [T] f32, for one backward pass: a root. Rows that are not named get no gradient.
 *
 * -> the loss [1] f64 and the values [S] f64. All of it stays on the device.
 */
export function preferenceLoss(
  x: Tensor,
  answers: Answers,
  batch: PreferenceBatch,
  objective: PreferenceObjective,
): { readonly loss: Tensor; readonly values: Tensor } {
  const at = placed(answers, x.device);
  const values = valuesAt(x, at, answers);
  const { loss, gradient } = lossOf(values, batch, objective);
  recordRoot('preference_loss', [x], () =>
    native.sequenceSumsBackward(grad(x), gradient, at.rows, at.starts, answers.factor, answers.average),
  );
  return { loss, values };
}

/** The loss of values [S] that the host has, and its gradient. */
export function preferenceOf(
  values: ArrayLike<number>,
  batch: PreferenceBatch,
  objective: PreferenceObjective,
): { readonly loss: number; readonly gradient: Float64Array } {
  return scope(() => {
    const { loss, gradient } = lossOf(from(Float64Array.from(values), undefined, onHost()), batch, objective);
    return { loss: loss.item(), gradient: gradient.readDoubles() };
  });
}

const onHost = () => ({ device: deviceOf('cpu') });

interface Placed {
  readonly rows: Tensor;
  readonly starts: Tensor;
}

const placed = ({ rows, starts }: Answers, device: Device): Placed => ({
  rows: from(rows, undefined, { device }),
  starts: from(starts, undefined, { device }),
});

function valuesAt(x: Tensor, { rows, starts }: Placed, { factor, average }: Answers): Tensor {
  const values = empty([starts.size - 1], { dtype: 'f64', device: x.device });
  native.sequenceSumsForward(values, x, rows, starts, factor, average);
  return values;
}

function lossOf(values: Tensor, { reference, targets, total }: PreferenceBatch, o: PreferenceObjective) {
  const { device } = values;
  const place = (x: ArrayLike<number> | undefined) => x && from(Float64Array.from(x), undefined, { device });
  const loss = empty([1], { dtype: 'f64', device });
  const gradient = empty(values.shape, values);
  const { kind, beta, smoothing = 0, center = 0 } = o;
  native.preferenceLoss(
    loss,
    gradient,
    values,
    place(reference),
    place(targets),
    KINDS.indexOf(kind),
    beta,
    smoothing,
    center,
    total,
  );
  return { loss, gradient };
}
