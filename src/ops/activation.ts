import * as native from '../native.gen.js';
import { empty, grad, record, type Tensor } from '../tensor/index.js';

/** Their numbers in the table: see kernels/cpu/activation.cc. */
const KINDS = { gelu: 0, geluTanh: 1, relu: 2, silu: 3, tanh: 4 } as const;

/** `gelu` is x * Phi(x), exact; `geluTanh` GPT-2's approximation of it. Hendrycks & Gimpel, arXiv:1606.08415. */
export type Activation = keyof typeof KINDS;

/** y = f(x), elementwise. */
export function activation(x: Tensor, f: Activation): Tensor {
  const y = empty(x.shape, x);
  native.activationForward(y, x, KINDS[f]);
  return record('activation', [x], y, (dy) => native.activationBackward(grad(x), dy, x, KINDS[f]));
}
