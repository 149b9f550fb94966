import * as native from '../native.gen.js';
import { empty, grad, record, type Tensor } from '../tensor/index.js';

/**
 * Sets each value to 0 with probability `rate` and divides the others by 1 - rate. The choice depends on the seed and the
 * element's index only, so a recomputed forward pass drops the same values. Srivastava et al., JMLR 15 (2014).
 * @throws TrainMoeError `bad-argument` unless 0 <= rate < 1.
 */
export function dropout(x: Tensor, rate: number, seed: number): Tensor {
  if (rate === 0) return x;
  const y = empty(x.shape, x);
  native.dropout({ id: y.id, beta: 0 }, x, rate, seed);
  return record('dropout', [x], y, (dy) => native.dropout(grad(x), dy, rate, seed)); // the map is linear and symmetric
}
