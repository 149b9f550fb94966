import * as native from '../native.gen.js';
import { attention } from '../ops/attention.js';
import { attentionDecode, mlaDecode } from '../ops/attention_decode.js';
import { headsLinear, linear } from '../ops/linear.js';
import { rmsnorm, rmsnormInPlace } from '../ops/rmsnorm.js';
import { rope } from '../ops/rope.js';
import { empty, insertDimension, reshape, split, type Tensor } from '../tensor/index.js';
import { window } from '../tensor/tensor.js';
import { type KvCache, writeCache } from './cache.js';
import { matrix, vector, type Weights } from './param.js';
import type { Run } from './run.js';

/** Multi-head latent attention. DeepSeek-V2, arXiv:2405.04434, section 2.1; V3, arXiv:2412.19437, section 2.1.1. */
export interface LatentConfig {
  /** C, width of the stream. */
  readonly hidden: number;
  /** H */
  readonly heads: number;
  /** Rank of the compressed query; null: not compressed (V2-Lite). */
  readonly queryRank: number | null;
  /** L, what is cached per token besides the rotary key. */
  readonly kvRank: number;
  /** Channels of a head without position. */
  readonly nope: number;
  /** R, rotary channels; the key's are shared by all heads. */
  readonly rope: number;
  /** Channels of a head's value. */
  readonly value: number;
  /** Of the scores: (nope+rope)^-1/2, times YaRN's m^2. */
  readonly scale: number;
}

/** The latent norms' epsilon is 1e-6 in all releases, whatever rms_norm_eps says. */
const LATENT_EPS = 1e-6;

/** Parameters of attendLatent(), matrices drawn from N(0, deviation^2). */
export const latentSpec = (c: LatentConfig, deviation: number) => ({
  queryDown: c.queryRank ? matrix([c.queryRank, c.hidden], deviation) : undefined,
  queryNorm: c.queryRank ? vector(c.queryRank, 1) : undefined,
  query: matrix([c.heads * (c.nope + c.rope), c.queryRank ?? c.hidden], deviation, 'column'),
  kvDown: matrix([c.kvRank + c.rope, c.hidden], deviation),
  kvNorm: vector(c.kvRank, 1),
  kvUp: matrix([c.heads * (c.nope + c.value), c.kvRank], deviation, 'column'),
  out: matrix([c.hidden, c.heads * c.value], deviation, 'row'),
});

/** Weights of attendLatent(). */
export type LatentWeights = Weights<ReturnType<typeof latentSpec>>;

/** x [T,C] -> [T,C]. Trains and scores in the expanded form; with a cache, in the form of what it holds. */
export function attendLatent(
  w: LatentWeights,
  c: LatentConfig,
  x: Tensor,
  ropeTable: Tensor,
  layer: number,
  run: Run,
): Tensor {
  const { positions, ranges } = run.layout;
  const compressed = w.queryDown ? rmsnorm(linear(x, w.queryDown), w.queryNorm!, LATENT_EPS) : x;
  const q = reshape(linear(compressed, w.query), [-1, c.heads, c.nope + c.rope]); // [T,H,nope+R]
  const kv = linear(x, w.kvDown); // [T, L+R]
  const [latent, keyRope] = split(kv, [c.kvRank, c.rope]) as [Tensor, Tensor];
  const qParts = split(q, [c.nope, c.rope]) as [Tensor, Tensor];
  rope(qParts[1], ropeTable, positions, { interleaved: true });
  rope(insertDimension(keyRope, 1), ropeTable, positions, { interleaved: true });
  let o: Tensor; // [T,H,value]
  if (!run.cache) o = expanded(c, q, expand(w, c, latent), keyRope, ranges!);
  else if (run.cache.layer(layer).shared) o = decodeExpanded(c, q, expand(w, c, latent), keyRope, layer, run.cache);
  else o = decode(w, c, qParts, kv, latent, layer, run.cache);
  return linear(reshape(o, [-1, c.heads * c.value]), w.out);
}

/** Keys without position and values of all heads, side by side. latent [T,L] -> [T,H,nope+value] */
function expand(w: LatentWeights, c: LatentConfig, latent: Tensor): Tensor {
  const up = linear(rmsnorm(latent, w.kvNorm, LATENT_EPS), w.kvUp);
  return reshape(up, [-1, c.heads, c.nope + c.value]);
}

function expanded(c: LatentConfig, q: Tensor, kv: Tensor, keyRope: Tensor, ranges: Tensor): Tensor {
  const [k, v] = split(kv, [c.nope, c.value]) as [Tensor, Tensor];
  return attention(q, k, v, { kShared: keyRope, ranges, scale: c.scale });
}

/** The same over a cache of keys and values: with kernels that agree, the bits of training. */
function decodeExpanded(
  c: LatentConfig,
  q: Tensor,
  kv: Tensor,
  keyRope: Tensor,
  layer: number,
  cache: KvCache,
): Tensor {
  const { key, shared } = cache.layer(layer); // [pages, page, H, nope+value], [pages, page, R]
  writeCache(key, kv, cache.slots);
  writeCache(shared!, keyRope, cache.slots);
  const [k, v] = split(key, [c.nope, c.value]) as [Tensor, Tensor];
  return attentionDecode(q, k, v, cache, c.scale, shared);
}

/**
 * The absorbed form: q . (Wk latent) = (q Wk) . latent, so queries meet the cached latents directly, and the value
 * projection is applied once to the attended latent. DeepSeek-V2, appendix C.
 */
function decode(
  w: LatentWeights,
  c: LatentConfig,
  [qNope, qRope]: readonly [Tensor, Tensor],
  kv: Tensor,
  latent: Tensor,
  layer: number,
  cache: KvCache,
): Tensor {
  const store = cache.layer(layer).key; // [pages, page, L+R]
  rmsnormInPlace(latent, w.kvNorm, LATENT_EPS); // its window on kv: kv is now what the cache keeps of a token
  writeCache(store, kv, cache.slots);
  const keyUp = rowsOfHeads(w, c, 0, c.nope); // [H,nope,L]
  const valueUp = rowsOfHeads(w, c, c.nope, c.value); // [H,value,L]
  const query = empty([kv.shape[0]!, c.heads, c.kvRank + c.rope], kv); // [T,H,L+R]
  const [queryLatent, queryRope] = split(query, [c.kvRank, c.rope]) as [Tensor, Tensor];
  native.headsLinear(queryLatent, qNope, keyUp, true);
  native.copy(queryRope, qRope);
  const attended = mlaDecode(query, store, cache, c.kvRank, c.scale); // [T,H,L]
  return headsLinear(attended, valueUp); // [T,H,value]
}

/** Rows from .. from + count of each head's part of kvUp [H * (nope+value), L]. */
function rowsOfHeads(w: LatentWeights, c: LatentConfig, from: number, count: number): Tensor {
  const head = (c.nope + c.value) * c.kvRank;
  return window(w.kvUp, from * c.kvRank, [c.heads, count, c.kvRank], [head, c.kvRank, 1]);
}
