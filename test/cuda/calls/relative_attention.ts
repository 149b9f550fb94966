import * as native from '../../../src/native.gen.js';
import { from, type Tensor } from '../../../src/tensor/index.js';
import { added, type Bench, type Call, fresh } from './bench.js';

/* Attention with scores of distances and types, forward and back; and the products by head that make those scores. */

interface RelativeShape {
  readonly rows: number;
  readonly keys: number;
  readonly heads: number;
  readonly depth: number;
  readonly width: number;
  readonly range: (row: number) => readonly [number, number];
  readonly hidden?: (row: number, j: number) => boolean;
}

const relativeCall = (name: string, s: RelativeShape): Call => ({
  name: `relative_attention: ${name}`,
  dtypes: ['f32', 'bf16'],
  tolerance: 2e-2,
  run: (b) => attention(b, s),
});

/** Positions are twice as many as keys; the first key of row r stands at place keys - r % keys. */
function attention(b: Bench, { rows, keys, heads, depth, width, range, hidden }: RelativeShape): readonly Tensor[] {
  const q = b.draw([rows, heads, depth], 1);
  const [k, v] = [b.draw([keys, heads, depth], 2), b.draw([keys, heads, width], 3)];
  const position = b.draw([rows, heads, 2 * keys], 4, { dtype: 'f32' });
  const segment = b.draw([rows, heads, 2], 5, { dtype: 'f32' });
  const ranges = b.ints([rows, 2], (i) => range(i >> 1)[i & 1]!);
  const offsets = b.ints([rows], (r) => keys - (r % keys));
  const bytes = Uint8Array.from({ length: rows * keys }, (_, i) => (hidden?.(Math.floor(i / keys), i % keys) ? 1 : 0));
  const mask = hidden && from(bytes, [rows, keys], { device: q.device });
  const [types, keyTypes] = [rows, keys].map((n) => b.ints([n], (i) => i % 3)) as [Tensor, Tensor];
  const scale = depth ** -0.5;
  const [o, lse] = [b.out([rows, heads, width]), b.out([rows, heads], 'f32')];
  native.relativeAttentionForward(o, lse, q, k, v, position, segment, ranges, offsets, mask, types, keyTypes, scale);
  const dout = b.draw(o.shape, 6);
  const [dq, dk, dv] = [b.out(q.shape), b.draw(k.shape, 7), b.out(v.shape)];
  const [dposition, dsegment] = [b.out(position.shape, 'f32'), b.draw(segment.shape, 8, { dtype: 'f32' })];
  native.relativeAttentionBackward(
    fresh(dq),
    added(dk),
    fresh(dv),
    fresh(dposition),
    added(dsegment),
    dout,
    q,
    k,
    v,
    position,
    segment,
    o,
    lse,
    ranges,
    offsets,
    mask,
    types,
    keyTypes,
    scale,
  );
  return [o, lse, dq, dk, dv, dposition, dsegment];
}

/** x and W of one dtype, y and its gradient in f32, as scores are. */
const headsCall = (name: string, rows: number, heads: number, inner: number, outer: number): Call => ({
  name: `heads_linear: ${name}`,
  dtypes: ['f32', 'bf16'],
  run: (b) => {
    const [x, weight] = [b.draw([rows, heads, inner], 1), b.draw([heads, outer, inner], 2)];
    const y = b.out([rows, heads, outer], 'f32');
    native.headsLinear(y, x, weight, false);
    const dy = b.draw(y.shape, 3, { dtype: 'f32' });
    const [dx, dweight] = [b.draw(x.shape, 4), b.out(weight.shape)];
    native.headsLinearBackward(added(dx), fresh(dweight), dy, x, weight);
    const same = b.draw(y.shape, 5); // the same with a gradient of the operands' dtype
    const [dx2, dweight2] = [b.out(x.shape), b.draw(weight.shape, 6, { dtype: 'f32' })];
    native.headsLinearBackward(fresh(dx2), added(dweight2), same, x, weight);
    return [y, dx, dweight, dx2, dweight2];
  },
});

export const relativeAttentionCalls: readonly Call[] = [
  relativeCall('memory and a mask, rows that see nothing', {
    rows: 40,
    keys: 50,
    heads: 3,
    depth: 20,
    width: 36,
    range: (r) => (r % 13 === 5 ? [7, 7] : r < 20 ? [0, 45] : [10, 50]),
    hidden: (r, j) => r === 9 || (r + j) % 4 === 1 || (r === 3 && j < 36),
  }),
  relativeCall('heads of 64, no mask', {
    rows: 33,
    keys: 70,
    heads: 2,
    depth: 64,
    width: 64,
    range: (r) => [r, r + 34],
  }),
  headsCall('odd sizes', 37, 3, 20, 45),
  headsCall('whole tiles', 128, 2, 64, 128),
];
