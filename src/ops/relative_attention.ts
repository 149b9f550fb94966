import * as native from '../native.gen.js';
import { empty, grad, record, type Tensor } from '../tensor/index.js';

/** What relativeAttention() needs besides queries, keys, values and the scores of positions. */
export interface RelativeAttentionOptions {
  /** [R,2] i32: the keys of query row r are ranges[r][0] <= s < ranges[r][1]. */
  readonly ranges: Tensor;
  /** [R] i32: where in `position` the first of them stands; the others follow it. */
  readonly offsets: Tensor;
  readonly scale: number;
  /** [R,M] u8: 1 where row r does not see the j-th key of its range, which has M keys at most. */
  readonly hidden?: Tensor | undefined;
  readonly segment?: SegmentScores | undefined;
}

/** What a key scores for being of the row's own type or of another. */
export interface SegmentScores {
  /** [R,H,2] f32: of keys of the same type, of another. */
  readonly scores: Tensor;
  /** [R] i32, of the rows. */
  readonly types: Tensor;
  /** [S] i32 */
  readonly keyTypes: Tensor;
}

/**
 * Attention in which distances have scores of their own, Transformer-XL's and XLNet's:
 *
 *     score[r,h,s] = scale * (q[r,h] k[s,h] + position[r,h, offsets[r] + s - ranges[r][0]] + segment[r,h, types[r] != keyTypes[s]])
 *
 * q [R,H,D], k [S,H,D], v [S,H,C], position [R,H,P] f32 -> [R,H,C]. A row that sees no key gives zeros. Gradients go to q, k, v and
 * to both kinds of scores. Dai et al., arXiv:1901.02860; Yang et al., arXiv:1906.08237.
 */
export function relativeAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  position: Tensor,
  { ranges, offsets, scale, hidden, segment }: RelativeAttentionOptions,
): Tensor {
  const [rows, heads] = q.shape as [number, number];
  const o = empty([rows, heads, v.shape[2]!], q);
  const lse = empty([rows, heads], { device: q.device });
  const { scores, types, keyTypes } = segment ?? {};
  native.relativeAttentionForward(o, lse, q, k, v, position, scores, ranges, offsets, hidden, types, keyTypes, scale);
  return record('relative_attention', [q, k, v, position, scores], o, (dout) =>
    native.relativeAttentionBackward(
      grad(q),
      grad(k),
      grad(v),
      grad(position),
      grad(scores),
      dout,
      q,
      k,
      v,
      position,
      scores,
      o,
      lse,
      ranges,
      offsets,
      hidden,
      types,
      keyTypes,
      scale,
    ),
  );
}
