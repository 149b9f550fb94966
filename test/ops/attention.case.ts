import { attention } from '../../src/ops/attention.js';
import { from, reshape, split, type Tensor } from '../../src/tensor/index.js';
import { attend } from './attention_reference.js';
import type { Input, OpCase, Values } from './harness.js';
import { inner } from './reference.js';

interface Shape {
  readonly name: string;
  readonly rows: number;
  readonly heads: number;
  readonly groups: number;
  readonly own: number; // channels of k
  readonly shared: number; // of k_shared
  readonly width: number; // of v
  /** First and last + 1 visible key of a row. */
  readonly sees: (row: number) => readonly [number, number];
  readonly keys?: number;
}

/** q, and k and v as two windows of one tensor, as attention blocks make them. */
function attentionCase(s: Shape): OpCase {
  const { rows, heads, groups, own, shared, width, keys = rows } = s;
  const scale = 0.6 / Math.sqrt(own + shared) + 0.1;
  const inputs: Record<string, Input> = {
    q: { shape: [rows, heads, own + shared] },
    kv: { shape: [keys, groups * (own + width)] },
    ranges: { shape: [rows, 2], ints: Int32Array.from(Array.from({ length: rows }, (_, r) => s.sees(r)).flat()) },
  };
  if (shared > 0) inputs.kShared = { shape: [keys, shared] };
  return {
    name: `attention: ${s.name}`,
    inputs,
    run: ({ q, kv, kShared, ranges }) => {
      const [k, v] = split(reshape(inner(kv!), [keys, groups, own + width]), [own, width]) as [Tensor, Tensor];
      return attention(inner(q!), k, v, { ranges: ranges!, scale, ...(kShared && { kShared: inner(kShared) }) });
    },
    reference: ({ q, kv, kShared, ranges }) => {
      const part = (first: number, count: number): Values => ({
        shape: [keys, groups, count],
        data: Float64Array.from(
          { length: keys * groups * count },
          (_, i) => kv!.data[Math.floor(i / count) * (own + width) + first + (i % count)]!,
        ),
      });
      return attend({ q: q!, k: part(0, own), v: part(own, width), kShared, ranges: ranges!.data, scale });
    },
  };
}

const causal = (row: number): [number, number] => [0, row + 1];
const ints = (...x: number[]) => from(Int32Array.from(x), [x.length / 2, 2]);
const floats = (...shape: number[]) => from(new Float32Array(shape.reduce((a, b) => a * b)), shape);

export const cases: OpCase[] = [
  attentionCase({ name: 'causal, latent', rows: 9, heads: 2, groups: 2, own: 5, shared: 3, width: 7, sees: causal }),
  attentionCase({
    name: 'keys of two tiles',
    rows: 6,
    keys: 70,
    heads: 1,
    groups: 1,
    own: 3,
    shared: 0,
    width: 2,
    sees: (r) => [r, 60 + 2 * r],
  }),
  attentionCase({
    name: 'packed documents, grouped heads',
    rows: 13,
    heads: 6,
    groups: 2,
    own: 8,
    shared: 0,
    width: 8,
    sees: (r) => [r < 4 ? 0 : r < 5 ? 4 : 5, r + 1],
  }),
  attentionCase({
    name: 'in both directions, padded, rows that see nothing',
    rows: 10,
    heads: 2,
    groups: 1,
    own: 4,
    shared: 2,
    width: 17,
    sees: (r) => (r < 5 ? [0, 3] : r === 7 ? [0, 0] : [6, 10]),
  }),
  attentionCase({
    name: 'other keys than queries, ranges that cross and go back',
    rows: 8,
    keys: 12,
    heads: 1,
    groups: 1,
    own: 6,
    shared: 0,
    width: 4,
    sees: (r) =>
      [
        [7, 12],
        [2, 5],
        [5, 9],
        [1, 2],
        [3, 3],
        [2, 4],
        [8, 11],
        [2, 3],
      ][r] as [number, number],
  }),
  {
    ...attentionCase({
      name: 'sliding window',
      rows: 20,
      heads: 1,
      groups: 1,
      own: 4,
      shared: 0,
      width: 4,
      sees: (r) => [Math.max(0, r - 5), r + 1],
    }),
    bad: [
      {
        what: 'a range beyond the keys',
        call: () => attention(floats(1, 1, 4), floats(2, 1, 4), floats(2, 1, 4), { ranges: ints(0, 3), scale: 1 }),
        says: /ranges\[0\] is 0 to 3, but there are 2 keys/,
      },
      {
        what: 'channels that do not add up',
        call: () => attention(floats(1, 1, 4), floats(2, 1, 3), floats(2, 1, 4), { ranges: ints(0, 2), scale: 1 }),
        says: /q has 4 channels, but k and k_shared have 3 \+ 0/,
      },
      {
        what: 'query heads that do not share key heads evenly',
        call: () => attention(floats(1, 3, 4), floats(2, 2, 4), floats(2, 2, 4), { ranges: ints(0, 2), scale: 1 }),
        says: /q has 3 heads; a multiple of k's 2/,
      },
    ],
  },
];
