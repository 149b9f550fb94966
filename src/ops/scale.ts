import * as native from '../native.gen.js';
import { empty, grad, record, type Tensor } from '../tensor/index.js';

/** y = factor * x. */
export function scale(x: Tensor, factor: number): Tensor {
  const y = empty(x.shape, x);
  native.axpy({ id: y.id, beta: 0 }, x, factor);
  return record('scale', [x], y, (dy) => native.axpy(grad(x), dy, factor));
}
