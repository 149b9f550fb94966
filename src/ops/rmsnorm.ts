import * as native from '../native.gen.js';
import { empty, grad, record, type Tensor } from '../tensor/index.js';

/** y = x / sqrt(mean(x^2) + eps) * weight, over the last dimension. Zhang & Sennrich, arXiv:1910.07467. */
export function rmsnorm(x: Tensor, weight: Tensor, eps = 1e-6): Tensor {
  const y = empty(x.shape, x); // [.., C]
  const rstd = empty(x.shape.slice(0, -1), { device: x.device }); // [..] f32
  native.rmsnormForward(y, rstd, x, weight, eps);
  return record('rmsnorm', [x, weight], y, (dy) => native.rmsnormBackward(grad(x), grad(weight), dy, x, weight, rstd));
}

/** As rmsnorm(), but x itself becomes the result; its rows may lie apart. No gradient. */
export function rmsnormInPlace(x: Tensor, weight: Tensor, eps: number): void {
  const rstd = empty(x.shape.slice(0, -1), { device: x.device });
  native.rmsnormForward(x, rstd, x, weight, eps);
}
