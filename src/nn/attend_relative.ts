import { add } from '../ops/add.js';
import { cast } from '../ops/cast.js';
import { concat } from '../ops/concat.js';
import { embedding } from '../ops/embedding.js';
import { headsLinear, linear } from '../ops/linear.js';
import { relativeAttention } from '../ops/relative_attention.js';
import { exchanged, reshape, split, type Tensor, zeros } from '../tensor/index.js';
import { matrix, type Weights } from './param.js';
import type { RelativeLayout, Sight } from './relative_layout.js';
import { sinusoidFor } from './sinusoid.js';

/** Attention by distances, as Transformer-XL has it: Dai et al., arXiv:1901.02860, section 3.3. */
export interface RelativeConfig {
  /** C, width of the stream. */
  readonly hidden: number;
  /** H */
  readonly heads: number;
  /** D, channels of a head. */
  readonly headSize: number;
}

/** Parameters of attendRelative(), all drawn from N(0, deviation^2). */
export const attendRelativeSpec = ({ hidden, heads, headSize }: RelativeConfig, deviation: number) => {
  const width = heads * headSize;
  const small = (rows: number) => matrix([rows, width], deviation, 'replicated', { decay: false });
  return {
    q: matrix([width, hidden], deviation, 'column'),
    kv: matrix([2 * width, hidden], deviation, 'column'),
    distance: matrix([width, hidden], deviation, 'column'),
    out: matrix([hidden, width], deviation, 'row'),
    // What is added to the queries that meet keys, distances and types.
    contentBias: small(1),
    distanceBias: small(1),
    typeBias: small(1),
    /** Of the same type, of another. */
    types: small(2),
  };
};

/** Weights of attendRelative(). */
export type RelativeWeights = Weights<ReturnType<typeof attendRelativeSpec>>;

/** What the streams of a layer read. */
export interface RelativeKeys {
  readonly k: Tensor; // [S,H,D]
  readonly v: Tensor; // [S,H,D]
  readonly distances: Tensor; // [H,P,D]
  readonly keyTypes: Tensor | undefined; // [S]
}

/** Sines and cosines of a pass's distances, [P,C] in the type of the weights. */
export const distanceTable = ({ distances, reach }: RelativeLayout, hidden: number, like: Tensor): Tensor =>
  cast(embedding(sinusoidFor(hidden, 2 * reach + 1, like.device, -reach), distances), like.dtype as 'f32' | 'bf16');

/** Keys and values of the memory [rows*M,C] and of the tokens x [T,C] behind it, and the keys of distances [P,C]. */
export function relativeKeys(
  w: RelativeWeights,
  { heads, headSize }: RelativeConfig,
  x: Tensor,
  memory: Tensor | undefined,
  table: Tensor,
  { layout, rows }: { readonly layout: RelativeLayout; readonly rows: number },
): RelativeKeys {
  const kv = linear(memory ? behind(memory, x, rows) : x, w.kv); // [S,2HD]
  const [k, v] = split(reshape(kv, [-1, 2 * heads, headSize]), [heads, heads], 1) as [Tensor, Tensor];
  const distances = exchanged(reshape(linear(table, w.distance), [-1, heads, headSize]));
  return { k, v, distances, keyTypes: layout.keyTypes };
}

/** The tokens of each of `rows` sequences behind its memory. */
function behind(memory: Tensor, x: Tensor, rows: number): Tensor {
  const width = x.shape[1]!;
  return reshape(concat([reshape(memory, [rows, -1]), reshape(x, [rows, -1])]), [-1, width]);
}

/** x [R,C] -> [R,C]: what its rows read of the keys that they see. */
export function attendRelative(
  w: RelativeWeights,
  { heads, headSize }: RelativeConfig,
  x: Tensor,
  { k, v, distances, keyTypes }: RelativeKeys,
  { types, ranges, offsets, hidden }: Sight,
): Tensor {
  const q = linear(x, w.q); // [R,HD]
  const everyRow = zeros([q.shape[0]!], { dtype: 'i32', device: q.device });
  const shifted = (bias: Tensor) => reshape(add(q, embedding(bias, everyRow)), [-1, heads, headSize]);
  const position = headsLinear(shifted(w.distanceBias), distances, 'f32'); // [R,H,P]
  const ofTypes = () => exchanged(reshape(w.types, [2, heads, headSize]));
  const o = relativeAttention(shifted(w.contentBias), k, v, position, {
    ranges,
    offsets,
    hidden,
    scale: headSize ** -0.5,
    segment:
      types && keyTypes ? { scores: headsLinear(shifted(w.typeBias), ofTypes(), 'f32'), types, keyTypes } : undefined,
  });
  return linear(reshape(o, [-1, heads * headSize]), w.out);
}
