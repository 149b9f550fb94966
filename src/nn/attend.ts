import { attention } from '../ops/attention.js';
import { attentionDecode } from '../ops/attention_decode.js';
import { linear } from '../ops/linear.js';
import { rope } from '../ops/rope.js';
import { reshape, split, type Tensor } from '../tensor/index.js';
import { writeCache } from './cache.js';
import { matrix, vector, type Weights } from './param.js';
import type { Run } from './run.js';

/** Multi-head attention with grouped keys. Vaswani et al., arXiv:1706.03762; GQA: Ainslie et al., arXiv:2305.13245. */
export interface AttendConfig {
  /** C, width of the stream. */
  readonly hidden: number;
  /** H, of the queries. */
  readonly heads: number;
  /** G, of keys and values; divides H. */
  readonly keyHeads: number;
  /** D, channels of a head. */
  readonly headSize: number;
  /** Of the scores, usually headSize^-1/2. */
  readonly scale: number;
  /** Queries, keys, values and the result have biases: BERT, GPT-2. Default: none. */
  readonly biased?: boolean;
}

/** Parameters of attend(), matrices drawn from N(0, deviation^2); `out`: deviation of the last, where it is another. */
export const attendSpec = (c: AttendConfig, deviation: number, out = deviation) => ({
  qkv: matrix([(c.heads + 2 * c.keyHeads) * c.headSize, c.hidden], deviation, 'column'),
  qkvBias: c.biased ? vector((c.heads + 2 * c.keyHeads) * c.headSize, 0) : undefined,
  out: matrix([c.hidden, c.heads * c.headSize], out, 'row'),
  outBias: c.biased ? vector(c.hidden, 0) : undefined,
});

/** Weights of attend(). */
export type AttendWeights = Weights<ReturnType<typeof attendSpec>>;

/**
 * x [T,C] -> [T,C]. `ropeTable` [positions, headSize] rotates halves (i, i + headSize/2), as Llama does; undefined where positions
 * come with the embedding.
 */
export function attend(
  w: AttendWeights,
  c: AttendConfig,
  x: Tensor,
  ropeTable: Tensor | undefined,
  layer: number,
  run: Run,
): Tensor {
  const { heads, keyHeads, headSize } = c;
  const { positions, ranges } = run.layout;
  const qkv = reshape(linear(x, w.qkv, w.qkvBias), [-1, heads + 2 * keyHeads, headSize]); // [T, H+2G, D]
  const [q, k, v] = split(qkv, [heads, keyHeads, keyHeads], 1) as [Tensor, Tensor, Tensor];
  if (ropeTable) for (const turned of [q, k]) rope(turned, ropeTable, positions, { interleaved: false });
  let o: Tensor; // [T,H,D]
  if (run.cache) {
    const store = run.cache.layer(layer);
    writeCache(store.key, k, run.cache.slots);
    writeCache(store.value!, v, run.cache.slots);
    o = attentionDecode(q, store.key, store.value!, run.cache, c.scale);
  } else o = attention(q, k, v, { ranges: ranges!, scale: c.scale });
  return linear(reshape(o, [-1, heads * headSize]), w.out, w.outBias);
}
