import * as native from '../native.gen.js';
import { gradientInPlace, record, type Tensor } from '../tensor/index.js';

/**
 * Rotates pairs of channels by the position's angle, IN PLACE, and returns x. Su et al., arXiv:2104.09864.
 * x [T,H,D] (a window is fine), table [P,D] f32: D/2 cosines, then D/2 sines, positions [T] i32. Pairs are (2i, 2i+1) when
 * interleaved (DeepSeek), else (i, i+D/2) (Llama).
 */
export function rope(
  x: Tensor,
  table: Tensor,
  positions: Tensor,
  { interleaved }: { readonly interleaved: boolean },
): Tensor {
  native.rope(x, table, positions, interleaved, false);
  return record('rope', [x], x, () => {
    const dx = gradientInPlace(x); // a rotation's gradient is the rotation back
    if (dx) native.rope(dx, table, positions, interleaved, true);
  });
}
