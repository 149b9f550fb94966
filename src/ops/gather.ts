import type { Tensor } from '../tensor/index.js';
import { cast } from './cast.js';
import { embedding } from './embedding.js';

/**
 * y[r] = x[rows[r]], with a gradient; rows may repeat. x [T,C], rows [R] i32 -> [R,C]. In bf16 by way of f32, in which gradients of
 * rows that meet are added.
 */
export function gather(x: Tensor, rows: Tensor): Tensor {
  const dtype = x.dtype as 'f32' | 'bf16';
  return cast(embedding(cast(x, 'f32'), rows), dtype);
}
