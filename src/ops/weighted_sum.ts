import * as native from '../native.gen.js';
import { empty, grad, recordRoot, reshape, type Tensor } from '../tensor/index.js';

/**
 * sum_i weights[i] * x[i], the loss of a model of one's own: 1/n everywhere gives the mean, 0 leaves a row out. x and weights
 * of equal shape, f32 -> [1] f64.
 *
 * The result is a root of the backward pass: its own gradient is 1, so that nothing waits for it. Put every factor into
 * `weights`, which get no gradient.
 */
export function weightedSum(x: Tensor, weights: Tensor): Tensor {
  const sum = empty([1], { dtype: 'f64', device: x.device });
  native.dot({ id: sum.id, beta: 0 }, reshape(x, [-1]), reshape(weights, [-1]));
  recordRoot('weighted_sum', [x], () => native.axpy(grad(x), weights, 1));
  return sum;
}
