import * as native from '../native.gen.js';
import { empty, passGradient, record, type Tensor } from '../tensor/index.js';

/** y = a + b, equal shapes. The gradient is passed on to both without a copy (tensor/gradient.ts). */
export function add(a: Tensor, b: Tensor): Tensor {
  const y = empty(a.shape, a);
  native.add(y, a, b);
  return record('add', [a, b], y, (dy) => {
    passGradient(a, dy, y);
    passGradient(b, dy, y);
  });
}
