import * as native from '../native.gen.js';
import { empty, grad, record, type Tensor } from '../tensor/index.js';

/** y = a * b, elementwise, equal shapes; y has a's dtype. */
export function multiply(a: Tensor, b: Tensor): Tensor {
  const y = empty(a.shape, a);
  native.multiply({ id: y.id, beta: 0 }, a, b);
  return record('multiply', [a, b], y, (dy) => {
    native.multiply(grad(a), dy, b);
    native.multiply(grad(b), dy, a);
  });
}
