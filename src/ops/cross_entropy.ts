import * as native from '../native.gen.js';
import { empty, grad, record, recording, recordRoot, type Tensor } from '../tensor/index.js';

/** What linearCrossEntropy() needs besides states, head and targets. */
export interface LinearCrossEntropyOptions {
  /** [R] f32 factor of each row's loss, e.g. 1 / trained tokens; 0 leaves a row out. */
  readonly weights: Tensor;
  /** [V] */
  readonly bias?: Tensor | undefined;
  /** Adds z * lse^2 to each row's loss. PaLM, arXiv:2204.02311, section 5. */
  readonly z?: number;
}

/**
 * The weighted sum of next-token losses, sum_r weights[r] * (lse_r - logit_r[target_r]) with logits = x head^T + bias,
 * without ever holding all logits. x [R,C], head [V,C], targets [R] i32 (negative: none) -> [1] f64.
 *
 * While recording it computes the gradients in the same pass over the logits (6RCV instead of 8RCV operations), taking
 * the result as a root of the backward pass: its own gradient is 1. Put every factor into `weights`.
 */
export function linearCrossEntropy(
  x: Tensor,
  head: Tensor,
  targets: Tensor,
  options: LinearCrossEntropyOptions,
): Tensor {
  const { weights, bias, z = 0 } = options;
  const perRow = { dtype: 'f32', device: x.device } as const;
  const rows = x.size / x.shape.at(-1)!;
  const nll = empty([rows], perRow);
  const lse = empty([rows], perRow);
  const loss = empty([1], { dtype: 'f64', device: x.device });
  if (!recording()) {
    native.linearCrossEntropyForward(nll, lse, undefined, x, head, bias, targets, 1);
    native.dot({ id: loss.id, beta: 0 }, nll, weights);
    return loss;
  }
  const dx = empty(x.shape, x);
  native.linearCrossEntropyTrain(
    nll,
    lse,
    { id: x.requiresGrad ? dx.id : 0, beta: 0 },
    grad(head),
    grad(bias),
    weights,
    x,
    head,
    bias,
    targets,
    z,
  );
  native.dot({ id: loss.id, beta: 0 }, nll, weights);
  recordRoot('linear_cross_entropy', [x], () => native.axpy(grad(x), dx, 1));
  return loss;
}

/** Log-probability of each target under softmax(scale * (x head^T + bias)), with gradients. -> [R] f32 */
export function linearLogProb(
  x: Tensor,
  head: Tensor,
  targets: Tensor,
  options: { readonly bias?: Tensor | undefined; readonly scale?: number; readonly entropy?: boolean } = {},
): { readonly nll: Tensor; readonly entropy: Tensor | undefined } {
  const { bias, scale = 1 } = options;
  const rows = x.size / x.shape.at(-1)!;
  const make = () => empty([rows], { dtype: 'f32', device: x.device });
  const nll = make();
  const lse = make();
  const entropy = options.entropy ? make() : undefined;
  native.linearCrossEntropyForward(nll, lse, entropy, x, head, bias, targets, scale);
  record('linear_log_prob', [x, head, bias], nll, (dnll) =>
    native.linearCrossEntropyBackward(
      grad(x),
      grad(head),
      grad(bias),
      dnll,
      undefined,
      lse,
      x,
      head,
      bias,
      targets,
      scale,
    ),
  );
  return { nll, entropy };
}

/** nll_r = lse(scale * logits_r) - scale * logits_r[target_r]. logits [R,V], targets [R] i32 -> [R] f32 */
export function crossEntropy(logits: Tensor, targets: Tensor, scale = 1): Tensor {
  const rows = targets.size;
  const nll = empty([rows], { dtype: 'f32', device: logits.device });
  const lse = empty([rows], { dtype: 'f32', device: logits.device });
  native.crossEntropyForward(nll, lse, undefined, logits, targets, scale);
  return record('cross_entropy', [logits], nll, (dnll) =>
    native.crossEntropyBackward(grad(logits), dnll, undefined, lse, logits, targets, scale),
  );
}
