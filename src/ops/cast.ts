import * as native from '../native.gen.js';
import { empty, grad, record, type Tensor } from '../tensor/index.js';

/** The same values in f32 or bf16, rounded to nearest even; x itself when it has that type. */
export function cast(x: Tensor, dtype: 'f32' | 'bf16'): Tensor {
  if (x.dtype === dtype) return x;
  const y = empty(x.shape, { dtype, device: x.device });
  native.copy(y, x);
  return record('cast', [x], y, (dy) => native.axpy(grad(x), dy, 1));
}
