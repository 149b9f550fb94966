import * as native from '../native.gen.js';
import { reshape, type Tensor } from '../tensor/index.js';
import { window } from '../tensor/tensor.js';

/**
 * What one layer keeps of each token, [pages, page, ...]. Attention by heads: keys and values. Latent attention: one row whose
 * beginning is the value; or expanded, each head's key and value side by side, and the channels that all keys share.
 */
export interface LayerCache {
  readonly key: Tensor;
  readonly value?: Tensor | undefined;
  readonly shared?: Tensor | undefined;
}

/**
 * What a forward pass that generates needs to know of the paged cache. T new tokens belong to B sequences.
 */
export interface KvCache {
  layer(index: number): LayerCache;
  /** [T] i32, where each new token's key goes: page * pageSize + offset. */
  readonly slots: Tensor;
  /** [B,M] i32, the pages of each sequence in order. */
  readonly pages: Tensor;
  /** [T] i32, the sequence of each new token. */
  readonly sequence: Tensor;
  /** [T] i32, how many keys each new token sees, itself included. */
  readonly lengths: Tensor;
}

/** Writes the rows of x [T,...] to their slots of a layer's cache [pages, page, ...]. */
export function writeCache(cache: Tensor, x: Tensor, slots: Tensor): void {
  const [pages, page, ...rest] = cache.shape as [number, number, ...number[]];
  const channels = rest.reduce((a, b) => a * b, 1);
  native.cacheWrite(reshape(cache, [pages * page, channels]), flattened(x, channels), slots);
}

/** x [T,G,D], whose heads lie side by side while rows may lie apart, as [T, G*D]. */
function flattened(x: Tensor, channels: number): Tensor {
  return x.shape.length === 2 ? x : window(x, 0, [x.shape[0]!, channels], [x.stride[0]!, 1]);
}
