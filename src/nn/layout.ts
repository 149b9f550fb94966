import { type Device, from, keep, type Tensor } from '../tensor/index.js';

/**
 * Where the tokens of a batch stand: `rows` sequences of `length` tokens, stacked to T = rows*length rows of a matrix.
 * Row r sees the keys ranges[r][0] <= s < ranges[r][1]; that one form covers causal and bidirectional attention, packed
 * documents and padding.
 */
export interface Layout {
  /** Sequences */
  readonly rows: number;
  /** Tokens of a sequence, padding included. */
  readonly length: number;
  /** [T] i32, for rotary and learned positions. */
  readonly positions: Tensor;
  /** [T,2] i32; not needed when keys come from a cache. */
  readonly ranges: Tensor | undefined;
  /** [T] i32, 0 on padding; undefined when there is none. */
  readonly active: Tensor | undefined;
  /** [rows+1] i32, the first row of each sequence, for per-sequence losses. */
  readonly segments: Tensor | undefined;
}

/** What a layout is made from. */
export interface LayoutOptions {
  /** Sequences */
  readonly rows: number;
  /** Tokens of a sequence, padding included. */
  readonly length: number;
  /** Tokens see no later ones. */
  readonly causal: boolean;
  /** [T] index in its sequence of the first token of each token's document; absent: one document a sequence. */
  readonly documentStart?: Int32Array;
  /** [T] 1 on tokens, 0 on padding (left or right). */
  readonly mask?: Int32Array;
  /** [T] positions; absent: counted from the document's first token. */
  readonly positions?: Int32Array;
  readonly device?: Device;
}

/** A layout's numbers before they are tensors. */
export interface LayoutValues {
  readonly rows: number;
  readonly length: number;
  /** [T] */
  readonly positions: Int32Array;
  /** [T,2] */
  readonly ranges: Int32Array;
  /** [T] */
  readonly active: Int32Array | undefined;
  /** [rows+1] */
  readonly segments: Int32Array;
}

export function layoutValues(options: Omit<LayoutOptions, 'device'>): LayoutValues {
  const { rows, length, causal, documentStart, mask } = options;
  const count = rows * length;
  const ranges = new Int32Array(2 * count);
  const positions = new Int32Array(count);
  for (let row = 0; row < rows; row++) {
    const base = row * length;
    const [first, end] = span(mask, base, length);
    for (let i = 0; i < length; i++) {
      const r = base + i;
      const start = documentStart ? Math.max(documentStart[r]!, first) : first;
      positions[r] = Math.max(i - start, 0);
      if (i < first || i >= end) continue; // padding sees nothing
      ranges[2 * r] = base + start;
      ranges[2 * r + 1] = base + (causal ? i + 1 : documentEnd(documentStart, base, i, end));
    }
  }
  const segments = Int32Array.from({ length: rows + 1 }, (_, i) => i * length);
  return { rows, length, positions: options.positions ?? positions, ranges, active: mask, segments };
}

/** Builds the index tensors of a batch. They belong to the scope that is active; keep() them to reuse a layout. */
export function makeLayout(options: LayoutOptions): Layout {
  return layoutOf(layoutValues(options), options.device);
}

/** The tensors of a layout. */
export function layoutOf(v: LayoutValues, device?: Device): Layout {
  const on = { device };
  const { rows, length } = v;
  return {
    rows,
    length,
    positions: from(v.positions, [rows * length], on),
    ranges: from(v.ranges, [rows * length, 2], on),
    active: v.active && from(v.active, [rows * length], on),
    segments: from(v.segments, [rows + 1], on),
  };
}

/** Gives a layout of the same shape other numbers. */
export function rewriteLayout(layout: Layout, v: LayoutValues): void {
  layout.positions.write(v.positions);
  layout.ranges?.write(v.ranges);
  if (v.active) layout.active?.write(v.active);
}

/** A layout that outlives its scope. */
export function keepLayout(layout: Layout): Layout {
  return keep(layout);
}

/** First token and end of the tokens of one sequence. */
function span(mask: Int32Array | undefined, base: number, length: number): [number, number] {
  if (!mask) return [0, length];
  let first = 0;
  while (first < length && !mask[base + first]) first++;
  let end = length;
  while (end > first && !mask[base + end - 1]) end--;
  return [first, end];
}

function documentEnd(documentStart: Int32Array | undefined, base: number, i: number, end: number): number {
  if (!documentStart) return end;
  let e = i + 1;
  while (e < end && documentStart[base + e] === documentStart[base + i]) e++;
  return e;
}
