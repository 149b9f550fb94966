import { type Device, from, type Tensor } from '../tensor/index.js';

/** What a model with attention by distances keeps the same in all passes. XLNet, arXiv:1906.08237. */
export interface RelativeSettings {
  /** Tokens see no later ones. */
  readonly causal: boolean;
  /** Causal tokens see equally many keys, whatever their place: those from themselves back to the memory's length. */
  readonly sameLength: boolean;
  /** Distances beyond it count as it; 0: none do. */
  readonly clampLength: number;
  /** The later half of the sequences runs backwards, so that distances change their sign. */
  readonly reversedHalf: boolean;
}

/** What one pass is: `rows` sequences of `length` tokens, T = rows * length. */
export interface RelativePass {
  readonly rows: number;
  readonly length: number;
  /** Tokens of earlier segments that each sequence remembers, M. */
  readonly memory: number;
  /** [T] 1 on tokens, 0 on padding. */
  readonly mask?: ArrayLike<number> | undefined;
  /** [rows, length, length] where token i may not see token j: other than 0. The order in which words are predicted. */
  readonly permutation?: ArrayLike<number> | undefined;
  /** [rows, K] places of the tokens that the second stream predicts, which does not see what stands there; -1: none. */
  readonly targets?: Int32Array | undefined;
  /** [T], which of several texts each token is of; absent: scores do not ask. */
  readonly types?: Int32Array | undefined;
  /** [rows] 1 where a sequence runs backwards, so that its distances have the other sign; absent: as the settings say. */
  readonly backwards?: ArrayLike<number> | undefined;
  /** [rows] last tokens of the memory that a sequence sees; absent: all of it. */
  readonly remembered?: ArrayLike<number> | undefined;
}

/** How the R rows of one stream stand to the S = rows * (M + length) keys, those of a sequence side by side, its memory first. */
export interface Sight<I = Tensor, B = Tensor> {
  /** [R,2] i32 */
  readonly ranges: I;
  /** [R] i32: where in the distances each row's first key is. */
  readonly offsets: I;
  /** [R, M + length] u8: keys of a row's range that it does not see, all the same. */
  readonly hidden: B | undefined;
  /** [R] i32 */
  readonly types: I | undefined;
}

/** Where all rows and keys of a pass stand. */
export interface RelativeLayout<I = Tensor, B = Tensor> {
  /** Of all tokens, each of which sees itself. */
  readonly content: Sight<I, B>;
  /** Of the targets, which do not; rows * K of them. */
  readonly query: Sight<I, B> | undefined;
  /** [S] i32; memory is of type 0. */
  readonly keyTypes: I | undefined;
  /** [P] i32: rows of a table of the distances -reach to reach. */
  readonly distances: I;
  readonly reach: number;
}

/** A pass through such a model: its layout, and what it remembers. */
export interface Relative {
  readonly layout: RelativeLayout;
  /** Per layer [rows * M, C], what went into it in earlier segments; absent: nothing. */
  readonly memory?: readonly Tensor[] | undefined;
  /** Told what goes into each layer, [T,C], which lives until it returns. */
  readonly onLayer?: (layer: number, input: Tensor) => void;
}

/** Tables of distances are made for these many at least, so that few are kept. */
const LEAST_REACH = 64;

/** The numbers of a pass. */
export function relativeValues(s: RelativeSettings, pass: RelativePass): RelativeLayout<Int32Array, Uint8Array> {
  const { rows, length, memory, types, targets } = pass;
  const keys = memory + length;
  const reach = 2 ** Math.ceil(Math.log2(Math.max(LEAST_REACH, keys + length)));
  const oneWay = Array.from({ length: s.causal ? keys + 1 : keys + length }, (_, p) =>
    clamped(keys - p, s.clampLength),
  );
  const all = s.reversedHalf || pass.backwards ? [...oneWay, ...oneWay.map((d) => -d)] : oneWay;
  const keyTypes = types && new Int32Array(rows * keys);
  if (types)
    for (let b = 0; b < rows; b++) keyTypes!.set(types.subarray(b * length, (b + 1) * length), b * keys + memory);
  const everywhere = Int32Array.from({ length: rows * length }, (_, r) => r % length);
  return {
    content: sight(s, pass, everywhere, oneWay.length, true),
    query: targets && sight(s, pass, targets, oneWay.length, false),
    keyTypes,
    distances: Int32Array.from(all, (d) => d + reach),
    reach,
  };
}

const clamped = (d: number, most: number): number => (most > 0 ? Math.max(-most, Math.min(most, d)) : d);

/** Of rows that stand at `places` of their sequences; `itself`: whether they see their own. */
function sight(
  s: RelativeSettings,
  { rows, length, memory, mask, permutation, types, backwards, remembered }: RelativePass,
  places: Int32Array,
  oneWay: number,
  itself: boolean,
): Sight<Int32Array, Uint8Array> {
  const runsBack = (b: number) => (backwards ? backwards[b] !== 0 : s.reversedHalf && b >= Math.floor(rows / 2));
  const [count, keys, each] = [places.length, memory + length, places.length / rows];
  const ranges = new Int32Array(2 * count);
  const offsets = new Int32Array(count);
  const hidden = mask || permutation || remembered ? new Uint8Array(count * keys) : undefined;
  for (let r = 0; r < count; r++) {
    const [b, i] = [Math.floor(r / each), places[r]!];
    if (i < 0) continue; // sees nothing
    const first = s.causal && s.sameLength ? i : 0;
    ranges.set([b * keys + first, b * keys + (s.causal ? memory + i + 1 : keys)], 2 * r);
    offsets[r] = length - i + first + (runsBack(b) ? oneWay : 0);
    if (remembered) hidden!.fill(1, r * keys, r * keys + Math.max(0, memory - remembered[b]! - first));
    for (let j = 0; hidden && j < length; j++) {
      const unseen = mask?.[b * length + j] === 0 || (permutation?.[(b * length + i) * length + j] ?? 0) !== 0;
      const column = memory + j - first;
      if (unseen && column >= 0 && !(itself && i === j)) hidden[r * keys + column] = 1;
    }
  }
  return {
    ranges,
    offsets,
    hidden,
    types: types && places.map((i, r) => types[Math.floor(r / each) * length + i] ?? 0),
  };
}

/** The tensors of a pass. */
export const makeRelativeLayout = (s: RelativeSettings, pass: RelativePass, device: Device): RelativeLayout =>
  relativeLayoutOf(relativeValues(s, pass), device);

/** The tensors of a layout. */
export function relativeLayoutOf(v: RelativeLayout<Int32Array, Uint8Array>, device: Device): RelativeLayout {
  const put = (values: Int32Array) => from(values, [values.length], { device });
  const stream = (of: Sight<Int32Array, Uint8Array>): Sight => ({
    ranges: from(of.ranges, [of.offsets.length, 2], { device }),
    offsets: put(of.offsets),
    hidden: of.hidden && from(of.hidden, [of.offsets.length, of.hidden.length / of.offsets.length], { device }),
    types: of.types && put(of.types),
  });
  return {
    content: stream(v.content),
    query: v.query && stream(v.query),
    keyTypes: v.keyTypes && put(v.keyTypes),
    distances: put(v.distances),
    reach: v.reach,
  };
}

/** Gives a layout of the same shape other numbers. */
export function rewriteRelativeLayout(layout: RelativeLayout, v: RelativeLayout<Int32Array, Uint8Array>): void {
  const stream = (to: Sight | undefined, of: Sight<Int32Array, Uint8Array> | undefined) => {
    if (!to || !of) return;
    to.ranges.write(of.ranges);
    to.offsets.write(of.offsets);
    if (of.hidden) to.hidden?.write(of.hidden);
    if (of.types) to.types?.write(of.types);
  };
  stream(layout.content, v.content);
  stream(layout.query, v.query);
  if (v.keyTypes) layout.keyTypes?.write(v.keyTypes);
}
