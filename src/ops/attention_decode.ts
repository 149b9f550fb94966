import * as native from '../native.gen.js';
import { empty, type Tensor } from '../tensor/index.js';

/** Which cached keys each row sees: see attention_decode in native/ops.def. */
export interface Pages {
  /** [B,M] i32 */
  readonly pages: Tensor;
  /** [R] i32 */
  readonly sequence: Tensor;
  /** [R] i32 */
  readonly lengths: Tensor;
}

/**
 * Attention of new tokens to a paged cache. q [R,H,D], k [Z,P,G,D-S], v [Z,P,G,V], kShared [Z,P,S]: the last channels of the
 * keys, which all heads share -> [R,H,V]. k and v may be windows. No gradient. In f32 on the CPU a row has the bits of
 * attention().
 */
export function attentionDecode(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { pages, sequence, lengths }: Pages,
  scale: number,
  kShared?: Tensor,
): Tensor {
  const o = empty([q.shape[0]!, q.shape[1]!, v.shape[3]!], q);
  native.attentionDecode(o, q, k, v, kShared, pages, sequence, lengths, scale);
  return o;
}

/**
 * Latent attention in the absorbed form: every head meets the same cached row, whose first `latent` channels are also the
 * value. q [R,H,D], cache [Z,P,D] -> [R,H,latent]. No gradient. DeepSeek-V2, arXiv:2405.04434, appendix C.
 */
export function mlaDecode(
  q: Tensor,
  cache: Tensor,
  { pages, sequence, lengths }: Pages,
  latent: number,
  scale: number,
): Tensor {
  const o = empty([q.shape[0]!, q.shape[1]!, latent], q);
  native.mlaDecode(o, q, cache, pages, sequence, lengths, scale);
  return o;
}
