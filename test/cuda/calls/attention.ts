import * as native from '../../../src/native.gen.js';
import type { Tensor } from '../../../src/tensor/index.js';
import { window } from '../../../src/tensor/tensor.js';
import { added, type Bench, type Call, fresh, nobody } from './bench.js';

/* Attention over rows that lie in one tensor, forward and back. */

interface AttentionShape {
  readonly rows: number;
  readonly heads: number;
  readonly groups: number;
  readonly own: number;
  readonly shared: number;
  readonly values: number;
  readonly ranges: (row: number) => readonly [number, number];
}

/** By the portable kernels, whichever GPU it is. */
const attentionCall = (name: string, s: AttentionShape): Call => ({
  name: `attention: ${name}`,
  tolerance: 2e-2,
  run: (b) => by('portable', () => attention(b, s)),
});

/** By Hopper's. */
const attentionByHopper = (name: string, s: AttentionShape): Call => ({
  name: `attention by hopper: ${name}`,
  dtypes: ['bf16'],
  tolerance: 2e-2,
  run: (b) => by('hopper', () => attention(b, s)),
});

/** Runs `body` with the kernels of attention that TRAIN_MOE_ATTENTION names; the CPU does not ask. */
function by<T>(kernels: string, body: () => T): T {
  process.env.TRAIN_MOE_ATTENTION = kernels;
  try {
    return body();
  } finally {
    delete process.env.TRAIN_MOE_ATTENTION;
  }
}

/** k and v are windows of one tensor, as latent attention makes them. */
function attention(b: Bench, s: AttentionShape): readonly Tensor[] {
  const depth = s.own + s.shared;
  const q = b.draw([s.rows, s.heads, depth], 1);
  const kv = b.draw([s.rows, s.groups, s.own + s.values], 2);
  const k = window(kv, 0, [s.rows, s.groups, s.own], kv.stride);
  const v = window(kv, s.own, [s.rows, s.groups, s.values], kv.stride);
  const shared = s.shared ? b.draw([s.rows, s.shared], 3) : undefined;
  const ranges = b.ints([s.rows, 2], (i) => s.ranges(i >> 1)[i & 1]!);
  const scale = 1 / Math.sqrt(depth);
  const [o, lse] = [b.out([s.rows, s.heads, s.values]), b.out([s.rows, s.heads], 'f32')];
  native.attentionForward(o, lse, q, k, v, shared, ranges, scale);
  const dout = b.draw(o.shape, 4);
  const [dq, dkv] = [b.out(q.shape), b.out(kv.shape)];
  const dk = window(dkv, 0, k.shape, kv.stride);
  const dv = window(dkv, s.own, v.shape, kv.stride);
  const dshared = s.shared ? b.draw([s.rows, s.shared], 5) : undefined;
  const into = dshared ? added(dshared) : nobody;
  native.attentionBackward(fresh(dq), fresh(dk), fresh(dv), into, dout, q, k, v, shared, o, lse, ranges, scale);
  return [o, lse, dq, dkv, ...(dshared ? [dshared] : [])];
}

const causal = (row: number) => [0, row + 1] as const;

export const attentionCalls: readonly Call[] = [
  attentionCall('causal 192/128 with a shared part', {
    rows: 150,
    heads: 4,
    groups: 4,
    own: 128,
    shared: 64,
    values: 128,
    ranges: causal,
  }),
  attentionCall('grouped heads of 64', {
    rows: 130,
    heads: 6,
    groups: 2,
    own: 64,
    shared: 0,
    values: 64,
    ranges: causal,
  }),
  attentionCall('odd channels, documents, rows that see nothing', {
    rows: 97,
    heads: 2,
    groups: 1,
    own: 18,
    shared: 6,
    values: 10,
    ranges: (r) => (r % 31 === 7 ? [5, 5] : r < 40 ? [0, 40] : [40, r + 1]),
  }),
  attentionCall('channels of 128 and 100', {
    rows: 70,
    heads: 2,
    groups: 2,
    own: 112,
    shared: 16,
    values: 100,
    ranges: causal,
  }),
  attentionCall('channels of 256', {
    rows: 66,
    heads: 1,
    groups: 1,
    own: 256,
    shared: 0,
    values: 256,
    ranges: () => [0, 66],
  }),
  attentionCall('channels beyond the tensor kernels', {
    rows: 20,
    heads: 2,
    groups: 1,
    own: 264,
    shared: 8,
    values: 24,
    ranges: causal,
  }),
  attentionByHopper('causal 192/128 with a shared part', {
    rows: 200,
    heads: 2,
    groups: 2,
    own: 128,
    shared: 64,
    values: 128,
    ranges: causal,
  }),
  attentionByHopper('grouped heads of 128, documents, rows that see nothing', {
    rows: 590,
    heads: 2,
    groups: 1,
    own: 128,
    shared: 0,
    values: 128,
    ranges: (r) => (r % 31 === 7 || (r >= 128 && r < 200) ? [5, 5] : r < 100 ? [0, r + 1] : [100, r + 1]),
  }),
  attentionByHopper('heads of 64, every row sees all', {
    rows: 261,
    heads: 3,
    groups: 1,
    own: 64,
    shared: 0,
    values: 64,
    ranges: () => [0, 261],
  }),
  attentionByHopper('sizes that stay with the portable kernels', {
    rows: 40,
    heads: 2,
    groups: 1,
    own: 40,
    shared: 24,
    values: 64,
    ranges: causal,
  }),
];
