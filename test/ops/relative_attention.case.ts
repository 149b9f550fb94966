import { relativeAttention } from '../../src/ops/relative_attention.js';
import { from, type Tensor } from '../../src/tensor/index.js';
import type { Input, OpCase, Values } from './harness.js';
import { inner } from './reference.js';

interface Shape {
  readonly name: string;
  readonly rows: number;
  readonly keys: number;
  readonly heads: number;
  readonly depth: number;
  readonly width: number;
  /** Columns of `position`. */
  readonly places: number;
  /** First and last + 1 key of a row's range. */
  readonly range: (row: number) => readonly [number, number];
  /** Where the row's first key stands in `position`. */
  readonly offset: (row: number) => number;
  /** Whether the row does not see the j-th key of its range; absent: no mask. */
  readonly hidden?: (row: number, j: number) => boolean;
  /** Kinds of rows and of keys; absent: no scores for them. */
  readonly type?: (i: number) => number;
}

const SCALE = 0.7;
const each = (count: number, f: (i: number) => number) => Int32Array.from({ length: count }, (_, i) => f(i));
const columnsOf = (s: Shape) => Math.max(...Array.from({ length: s.rows }, (_, r) => s.range(r)[1] - s.range(r)[0]));

function relativeCase(s: Shape): OpCase {
  const { rows, keys, heads, depth, width, places } = s;
  const inputs: Record<string, Input> = {
    q: { shape: [rows, heads, depth], scale: 0.5 },
    k: { shape: [keys, heads, depth] },
    v: { shape: [keys, heads, width] },
    position: { shape: [rows, heads, places], f32: true },
    ...(s.type && { segment: { shape: [rows, heads, 2], f32: true } }),
  };
  const columns = columnsOf(s);
  return {
    name: `relative_attention: ${s.name}`,
    inputs,
    run: ({ q, k, v, position, segment }) => {
      const { device } = q!;
      const ints = (count: number, f: (i: number) => number, shape = [count]) =>
        from(each(count, f), shape, { device });
      const mask = Uint8Array.from({ length: rows * columns }, (_, i) =>
        s.hidden?.(Math.floor(i / columns), i % columns) ? 1 : 0,
      );
      return relativeAttention(inner(q!), inner(k!), inner(v!), position!, {
        ranges: ints(2 * rows, (i) => s.range(i >> 1)[i & 1]!, [rows, 2]),
        offsets: ints(rows, s.offset),
        scale: SCALE,
        hidden: s.hidden && from(mask, [rows, columns], { device }),
        segment: segment && { scores: segment, types: ints(rows, s.type!), keyTypes: ints(keys, s.type!) },
      });
    },
    reference: (x) => attended(s, x),
  };
}

/** The definition in float64. */
function attended(s: Shape, { q, k, v, position, segment }: Record<string, Values>): Values {
  const { rows, heads, depth, width, places } = s;
  const y = new Float64Array(rows * heads * width);
  for (let r = 0; r < rows; r++)
    for (let h = 0; h < heads; h++) {
      const [first, end] = s.range(r);
      const seen = Array.from({ length: Math.max(0, end - first) }, (_, j) => j).filter((j) => !s.hidden?.(r, j));
      const score = (j: number): number => {
        let sum = position!.data[(r * heads + h) * places + s.offset(r) + j]!;
        if (segment) sum += segment.data[(r * heads + h) * 2 + (s.type!(r) === s.type!(first + j) ? 0 : 1)]!;
        for (let d = 0; d < depth; d++)
          sum += q!.data[(r * heads + h) * depth + d]! * k!.data[((first + j) * heads + h) * depth + d]!;
        return SCALE * sum;
      };
      const scores = seen.map(score);
      const highest = Math.max(...scores);
      const weights = scores.map((x) => Math.exp(x - highest));
      const total = weights.reduce((a, b) => a + b, 0);
      for (let c = 0; c < width; c++)
        for (const [i, j] of seen.entries())
          y[(r * heads + h) * width + c]! += (weights[i]! / total) * v!.data[((first + j) * heads + h) * width + c]!;
    }
  return { shape: [rows, heads, width], data: y };
}

const floats = (...shape: number[]) => from(new Float32Array(shape.reduce((a, b) => a * b)), shape);
const ints = (...x: number[]) => from(Int32Array.from(x));
/** One row and head, two keys of four channels, three positions. */
const small = (ranges: Tensor, more: { offsets?: Tensor; hidden?: Tensor } = {}) =>
  relativeAttention(floats(1, 1, 4), floats(2, 1, 4), floats(2, 1, 4), floats(1, 1, 3), {
    ranges,
    offsets: more.offsets ?? ints(0),
    scale: 1,
    hidden: more.hidden,
  });
const range = (first: number, end: number) => from(Int32Array.of(first, end), [1, 2]);

export const cases: OpCase[] = [
  {
    ...relativeCase({
      name: 'every key, distances, types',
      rows: 7,
      keys: 7,
      heads: 2,
      depth: 5,
      width: 3,
      places: 15,
      range: () => [0, 7],
      offset: (r) => 7 - r,
      type: (i) => (i < 3 ? 0 : i < 6 ? 1 : 2),
    }),
    bad: [
      {
        what: 'a range beyond the keys',
        call: () => small(range(0, 3)),
        says: /ranges\[0\] is 0 to 3, but there are 2 keys/,
      },
      {
        what: 'positions that are not there',
        call: () => small(range(0, 2), { offsets: ints(2) }),
        says: /row 0 asks for the positions 2 to 4, but there are 3/,
      },
      {
        what: 'a mask of fewer columns than a row has keys',
        call: () => small(range(0, 2), { hidden: from(new Uint8Array(1), [1, 1]) }),
        says: /row 0 has 2 keys in its range, but hidden has 1 columns/,
      },
    ],
  },
  relativeCase({
    name: 'two sequences with memory, hidden keys, a row that sees none',
    rows: 10,
    keys: 16,
    heads: 3,
    depth: 4,
    width: 4,
    places: 18,
    range: (r) => (r < 5 ? [0, 8] : [8, 16]),
    offset: (r) => 5 - (r % 5),
    hidden: (r, j) => r === 6 || (r * 7 + j * 3) % 5 === 0,
    type: (i) => (i >> 2) & 1,
  }),
  relativeCase({
    name: 'causal windows, keys and channels of two warps',
    rows: 4,
    keys: 40,
    heads: 1,
    depth: 5,
    width: 34,
    places: 44,
    range: (r) => (r === 2 ? [4, 4] : [r, 34 + 2 * r]),
    offset: (r) => 6 - r,
    hidden: (r, j) => r === 3 && j < 36,
  }),
  relativeCase({
    name: 'many rows of one key range',
    rows: 37,
    keys: 6,
    heads: 2,
    depth: 3,
    width: 2,
    places: 6,
    range: (r) => [r % 3, 6],
    offset: (r) => r % 3,
    type: (i) => i % 2,
  }),
  relativeCase({
    name: 'rows of two chunks, the last of which see nothing',
    rows: 70,
    keys: 5,
    heads: 1,
    depth: 2,
    width: 3,
    places: 7,
    range: (r) => (r < 64 ? [0, 5] : [2, 2]),
    offset: (r) => r % 3,
    type: (i) => i % 3,
  }),
];
