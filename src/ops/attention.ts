import * as native from '../native.gen.js';
import { empty, grad, record, type Tensor } from '../tensor/index.js';

/** What attention() needs besides queries, keys and values. */
export interface AttentionOptions {
  /** [R,2] i32: query row r sees the keys ranges[r][0] <= s < ranges[r][1]; none gives zeros. */
  readonly ranges: Tensor;
  readonly scale: number;
  /** [S,P]: channels of the key that all heads share, after k's own (MLA's rotary key). */
  readonly kShared?: Tensor;
}

/**
 * softmax(scale * q k^T) v over the visible keys, never holding the score matrix. q [R,H,D], k [S,G,D-P], v [S,G,V] with
 * H a multiple of G -> [R,H,V]. Any of them may be windows. Dao et al., arXiv:2205.14135, 2307.08691.
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, { ranges, scale, kShared }: AttentionOptions): Tensor {
  const [rows, heads] = q.shape as [number, number];
  const o = empty([rows, heads, v.shape[2]!], q);
  const lse = empty([rows, heads], { device: q.device });
  native.attentionForward(o, lse, q, k, v, kShared, ranges, scale);
  return record('attention', [q, k, v, kShared], o, (dout) =>
    native.attentionBackward(grad(q), grad(k), grad(v), grad(kShared), dout, q, k, v, kShared, o, lse, ranges, scale),
  );
}
