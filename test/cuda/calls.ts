import * as native from '../../src/native.gen.js';
import { type Device, type DType, empty, from, type Shape, sizeOf, type Tensor } from '../../src/tensor/index.js';
import { window } from '../../src/tensor/tensor.js';

/*
 * Calls of native ops whose results two backends must agree on. They are chosen for the CUDA kernels: whole and partial tiles, rows
 * that cannot be copied 16 bytes at a time, windows, every template size; the definitions themselves are checked by test/ops.
 */

/** Normal values from a small generator (mulberry32): the emulator's cases have up to a million of them. */
function normals(count: number, seed: number, scale = 1): Float32Array {
  let state = seed * 0x9e3779b9;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return (((z ^ (z >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => scale * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

/** What a call may use; every draw is the same on every device. */
export interface Bench {
  readonly dtype: 'f32' | 'bf16';
  draw(shape: Shape, seed: number, options?: { dtype?: DType; scale?: number }): Tensor;
  ints(shape: Shape, value: (i: number) => number): Tensor;
  out(shape: Shape, dtype?: DType): Tensor;
}

export interface Call {
  readonly name: string;
  readonly run: (b: Bench) => readonly Tensor[];
  readonly dtypes?: readonly ('f32' | 'bf16')[];
  readonly tolerance?: number;
}

export function benchOf(device: Device, dtype: 'f32' | 'bf16'): Bench {
  return {
    dtype,
    draw: (shape, seed, options = {}) =>
      from(normals(sizeOf(shape), seed, options.scale), shape, {
        dtype: options.dtype ?? dtype,
        device,
      }),
    ints: (shape, value) =>
      from(
        Int32Array.from({ length: sizeOf(shape) }, (_, i) => value(i)),
        shape,
        { device },
      ),
    out: (shape, own = dtype) => empty(shape, { dtype: own, device }),
  };
}

const fresh = (t: Tensor) => ({ id: t.id, beta: 0 }) as const;
const added = (t: Tensor) => ({ id: t.id, beta: 1 }) as const;
const nobody = { id: 0, beta: 0 } as const;
const unwanted = { id: 0, beta: 0 } as const;

/** What the optimizer reads of step t. */
function ratesOf(b: Bench, lr: number, t: number): Tensor {
  return b.out([4], 'f64').write(Float64Array.of(lr, 1 - 0.9 ** t, 1 - 0.95 ** t, t));
}

/** Losses of micro-batches, the last one given. */
const lossesOf = (b: Bench, last: number): Tensor => b.out([3], 'f64').write(Float64Array.of(2, 3, last));

interface AttentionShape {
  readonly rows: number;
  readonly heads: number;
  readonly groups: number;
  readonly own: number;
  readonly shared: number;
  readonly values: number;
  readonly ranges: (row: number) => readonly [number, number];
}

/** k and v as windows of one tensor, as latent attention makes them. */
function attentionCall(name: string, s: AttentionShape): Call {
  return { name: `attention: ${name}`, tolerance: 2e-2, run: (b) => attention(b, s) };
}

/** The same by Hopper's kernels; the CPU does not ask. */
function attentionByHopper(name: string, s: AttentionShape): Call {
  return {
    name: `attention by hopper: ${name}`,
    dtypes: ['bf16'],
    tolerance: 2e-2,
    run: (b) => {
      process.env.TRAIN_MOE_ATTENTION = 'hopper';
      try {
        return attention(b, s);
      } finally {
        delete process.env.TRAIN_MOE_ATTENTION;
      }
    },
  };
}

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
  const into = dshared ? added(dshared) : unwanted;
  native.attentionBackward(fresh(dq), fresh(dk), fresh(dv), into, dout, q, k, v, shared, o, lse, ranges, scale);
  return [o, lse, dq, dkv, ...(dshared ? [dshared] : [])];
}

const causal = (row: number) => [0, row + 1] as const;

/** Rows of three sequences over pages of 16 keys, in any order. */
function paged(b: Bench, lengths: readonly number[], pageKeys: number) {
  const perSequence = Math.ceil(Math.max(...lengths) / pageKeys);
  const count = lengths.length;
  return {
    pages: b.ints([count, perSequence], (i) => (i * 7 + 3) % (count * perSequence)),
    sequence: b.ints([count], (i) => (i + 1) % count),
    lengths: b.ints([count], (i) => lengths[i]!),
    total: count * perSequence,
  };
}

function decodeCall(
  name: string,
  heads: number,
  groups: number,
  depth: number,
  values: number,
  lengths: number[],
  shared = 0,
): Call {
  return {
    name: `attention_decode: ${name}`,
    tolerance: 2e-2,
    run: (b) => {
      const p = paged(b, lengths, 16);
      const q = b.draw([lengths.length, heads, depth + shared], 1);
      const rest = shared > 0 ? b.draw([p.total, 16, shared], 4) : undefined;
      const k = b.draw([p.total, 16, groups, depth], 2);
      const v = b.draw([p.total, 16, groups, values], 3);
      const o = b.out([lengths.length, heads, values]);
      native.attentionDecode(o, q, k, v, rest, p.pages, p.sequence, p.lengths, 1 / Math.sqrt(depth));
      return [o];
    },
  };
}

function latentCall(name: string, heads: number, depth: number, latent: number, lengths: number[]): Call {
  return {
    name: `mla_decode: ${name}`,
    tolerance: 2e-2,
    run: (b) => {
      const p = paged(b, lengths, 16);
      const q = b.draw([lengths.length, heads, depth], 1);
      const cache = b.draw([p.total, 16, depth], 2);
      const o = b.out([lengths.length, heads, latent]);
      native.mlaDecode(o, q, cache, p.pages, p.sequence, p.lengths, 1 / Math.sqrt(depth));
      return [o];
    },
  };
}

/** Rows of up to several spans, in batches of which a block takes more or fewer spans at once: their bits must not differ. */
function batchedDecodeCall(heads: number, lengths: readonly number[]): Call {
  const [depth, latent, count] = [48, 32, lengths.length];
  return {
    name: `mla_decode: ${heads} heads, rows alone, in fours and all at once`,
    tolerance: 2e-2,
    run: (b) => {
      const p = paged(b, lengths, 16);
      const q = b.draw([count, heads, depth], 1);
      const cache = b.draw([p.total, 16, depth], 2);
      const decoded = (rows: number) => {
        const o = b.out([count, heads, latent]);
        const part = (t: Tensor, first: number) =>
          window(t, first * t.stride[0]!, [Math.min(rows, count - first), ...t.shape.slice(1)], t.stride);
        for (let r = 0; r < count; r += rows) {
          const [sequence, length] = [part(p.sequence, r), part(p.lengths, r)];
          native.mlaDecode(part(o, r), part(q, r), cache, p.pages, sequence, length, 0.2);
        }
        return o;
      };
      const all = decoded(count);
      const differences = [1, 4].map((rows) => {
        const [other, difference] = [decoded(rows), b.out(all.shape)];
        native.axpy(added(other), all, -1);
        native.axpy(fresh(difference), other, 1e6);
        return difference;
      });
      return [all, ...differences];
    },
  };
}

/** Completions of two prompts, which share pages of 64 keys, and one prompt's own tokens, as neighbouring rows. */
function sharedPagesCall(name: string, heads: number, groups: number, depth: number, values: number): Call {
  const [perSequence, keys] = [13, 64];
  const prompt = [0, 0, 0, 0, 9, 9, 0, 9];
  const sequence = [0, 1, 2, 3, 4, 5, 6, 7, 7, 7];
  const lengths = [700, 800, 513, 511, 600, 832, 700, 5, 6, 540];
  return {
    name: `shared pages: ${name}`,
    tolerance: 2e-2,
    run: (b) => {
      // Sequences of a prompt share its first nine pages and have four of their own.
      const pages = b.ints([prompt.length, perSequence], (i) => {
        const [s, p] = [Math.floor(i / perSequence), i % perSequence] as const;
        return p < 9 ? prompt[s]! + p : 18 + s * 4 + p - 9;
      });
      const [rowOf, length] = [b.ints([10], (i) => sequence[i]!), b.ints([10], (i) => lengths[i]!)];
      const [q, o] = [b.draw([10, heads, depth], 1), b.out([10, heads, values])];
      const k = b.draw([50, keys, groups, depth], 2);
      const scale = 1 / Math.sqrt(depth);
      native.attentionDecode(o, q, k, b.draw([50, keys, groups, values], 3), undefined, pages, rowOf, length, scale);
      if (groups > 1) return [o];
      const latent = b.out([10, heads, values]);
      native.mlaDecode(latent, q, b.draw([50, keys, depth], 4), pages, rowOf, length, scale);
      return [o, latent];
    },
  };
}

function productCall(rows: number, depth: number, cols: number): Call {
  return {
    name: `linear: [${rows},${depth}] x [${cols},${depth}]`,
    tolerance: 2e-2,
    run: (b) => {
      const [x, weight, dy] = [b.draw([rows, depth], 1), b.draw([cols, depth], 2), b.draw([rows, cols], 3)];
      const [y, dx] = [b.out([rows, cols], 'f32'), b.out([rows, depth])];
      const [dweight, dbias] = [b.draw([cols, depth], 4, { dtype: 'f32' }), b.out([cols], 'f32')];
      native.linearForward(y, x, weight, undefined);
      native.linearBackward(fresh(dx), added(dweight), fresh(dbias), dy, x, weight);
      return [y, dx, dweight, dbias];
    },
  };
}

/** A product of f32 weights, as a router's, and its gradients; then the same by parts of the rows, whose bits must not differ. */
function routerCall(rows: number, depth: number, cols: number): Call {
  return {
    name: `linear by f32 units: [${rows},${depth}] x [${cols},${depth}]`,
    run: (b) => {
      const [x, weight] = [b.draw([rows, depth], 1), b.draw([cols, depth], 2, { dtype: 'f32' })];
      const dy = b.draw([rows, cols], 3, { dtype: 'f32' });
      const product = (count: number) => {
        const y = b.out([rows, cols], 'f32');
        const part = (t: Tensor, r: number) =>
          window(t, r * t.shape[1]!, [Math.min(count, rows - r), t.shape[1]!], t.stride);
        for (let r = 0; r < rows; r += count) native.linearForward(part(y, r), part(x, r), weight, undefined);
        return y;
      };
      const [y, dx, dweight] = [product(rows), b.draw([rows, depth], 4), b.out([cols, depth], 'f32')];
      native.linearBackward(added(dx), fresh(dweight), unwanted, dy, x, weight);
      const differences = [5, 70].map((count) => {
        const [other, difference] = [product(count), b.out([rows, cols], 'f32')];
        native.axpy(added(other), y, -1);
        native.axpy(fresh(difference), other, 1e6);
        return difference;
      });
      return [y, dx, dweight, ...differences];
    },
  };
}

function expertsCall(counts: readonly number[], tokens: number, inner: number, outer: number, spare: number): Call {
  const offsets = [0];
  for (const n of counts) offsets.push(offsets.at(-1)! + n);
  const rows = offsets.at(-1)! + spare;
  return {
    name: `grouped_linear: ${counts.join('+')} rows and ${spare} of nobody`,
    tolerance: 2e-2,
    run: (b) => {
      const x = b.draw([tokens, inner], 1);
      const weight = b.draw([counts.length, outer, inner], 2);
      const [at, gather] = [b.ints([offsets.length], (i) => offsets[i]!), b.ints([rows], (i) => (i * 13) % tokens)];
      const dy = b.draw([rows, outer], 3);
      const [y, dx] = [b.out([rows, outer]), b.out([rows, inner])];
      const dweight = b.out(weight.shape, 'f32');
      native.groupedLinearForward(y, x, weight, at, gather);
      native.groupedLinearBackward(fresh(dx), fresh(dweight), dy, x, weight, at, gather);
      return [y, dx, dweight];
    },
  };
}

function sampleCall(name: string, settings: readonly [number, number, number, number], topK: number): Call {
  return {
    name: `sample: ${name}`,
    run: (b) => {
      const [rows, size] = [9, 700];
      const logits = b.draw([rows, size], 1, { scale: 3 });
      const given = from(
        Float32Array.from({ length: rows * 4 }, (_, i) => settings[i % 4]!),
        [rows, 4],
        { device: logits.device },
      );
      const [ids, logprob] = [b.out([rows], 'i32'), b.out([rows], 'f32')];
      const history = b.ints([rows, 6], (i) => (i * 31) % 50);
      native.sample(
        ids,
        logprob,
        logits,
        given,
        b.ints([rows], () => topK),
        b.ints([rows, 2], (i) => i * i),
        history,
      );
      return [ids, logprob];
    },
  };
}

/** The choice of experts by sigmoid and bias, within the best half of the groups. */
function routed(name: string, tokens: number, experts: number, active: number, groups: number): Call {
  return {
    name: `router: ${name}`,
    dtypes: ['f32'],
    run: (b) => {
      const [logits, bias] = [b.draw([tokens, experts], 1), b.draw([experts], 2, { scale: 0.1 })];
      const [weights, chosen] = [b.out([tokens, active]), b.out([tokens, active], 'i32')];
      const [scores, counts] = [b.out(logits.shape), b.out([experts], 'i32')];
      const kept = Math.max(1, groups / 2);
      native.routerForward(
        weights,
        chosen,
        scores,
        counts,
        logits,
        bias,
        undefined,
        undefined,
        groups,
        kept,
        2,
        true,
        true,
        2.5,
      );
      return [weights, chosen, scores, counts];
    },
  };
}

const balance = (name: string, rescale: boolean, ownTop: boolean, devices: number): Call => ({
  name: `balance_loss: ${name}`,
  dtypes: ['f32'],
  run: (b) => {
    const [tokens, experts, active] = [53, 12, 3];
    const scores = b.draw([tokens, experts], 1, { scale: 0.1 });
    const positive = b.out(scores.shape);
    native.multiply(fresh(positive), scores, scores);
    const chosen = b.ints([tokens, active], (i) =>
      Math.floor(i / active) % 9 === 4 ? -1 : (i * 5 + (i % active)) % experts,
    );
    const segments = b.ints([4], (i) => [0, 20, 20, tokens][i]!);
    const [loss, dscores] = [b.out([1]), b.out(scores.shape)];
    native.balanceLoss(loss, fresh(dscores), positive, chosen, segments, rescale, ownTop, 0.7, devices, 2, 0.3, 0.2);
    return [loss, dscores];
  },
});

/** 40 samples, of which one is empty and one longer than a block of threads, on every other row or so. */
const policyCall = (name: string, whole: boolean, estimator: number): Call => ({
  name: `policy_loss: ${name}`,
  dtypes: ['f32'],
  tolerance: 1e-5,
  run: (b) => {
    const lengths = Array.from({ length: 40 }, (_, i) => (i === 7 ? 0 : i === 20 ? 300 : 3 + (i % 5)));
    const starts = [0];
    for (const n of lengths) starts.push(starts.at(-1)! + n);
    const tokens = starts.at(-1)!;
    const rows = b.ints([tokens], (t) => 2 * t + (t % 3 === 1 ? 1 : 0));
    const near = (seed: number) => b.draw([tokens], seed, { scale: 0.2 });
    const nll = b.draw([2 * tokens + 5], 1, { scale: 0.2 });
    const advantages = b.out([40], 'f64').write(Float64Array.from(lengths, (_, i) => Math.sin(i)));
    const bounds = b.ints([41], (i) => starts[i]!);
    const passes = [b.out(nll.shape), b.draw(nll.shape, 5)].map((dnll, i) => {
      const [loss, stats] = [b.out([1], 'f64'), b.out([8], 'f64')];
      const into = i ? added(dnll) : fresh(dnll);
      const given = [rows, advantages, bounds, near(2), near(3), near(4)] as const;
      native.policyLoss(loss, stats, into, nll, ...given, 0.2, 0.2, 1.3, whole, 1.1, 0.02, 0.1, estimator, 40, true);
      return [loss, stats, dnll];
    });
    return passes.flat();
  },
});

/** 150 pairs, more than a block of threads, with answers of up to 200 tokens of which one is empty. */
const preferenceCall = (name: string, kind: number, average: boolean): Call => ({
  name: `preference_loss: ${name}`,
  dtypes: ['f32'],
  tolerance: 1e-5,
  run: (b) => {
    const starts = [0];
    for (let i = 0; i < 300; i++) starts.push(starts.at(-1)! + (i === 5 ? 0 : i === 9 ? 200 : 1 + (i % 3)));
    const tokens = starts.at(-1)!;
    const [rows, bounds] = [b.ints([tokens], (t) => 2 * t + (t % 5 === 1 ? 1 : 0)), b.ints([301], (i) => starts[i]!)];
    const x = b.draw([2 * tokens + 3], 1);
    const doubles = (n: number, of: (i: number) => number) =>
      b.out([n], 'f64').write(Float64Array.from({ length: n }, (_, i) => of(i)));
    const [values, loss, dvalues] = [b.out([300], 'f64'), b.out([1], 'f64'), b.out([300], 'f64')];
    native.sequenceSumsForward(values, x, rows, bounds, -0.7, average);
    const reference = doubles(300, Math.sin);
    const targets = kind === 3 ? doubles(300, (i) => i % 2) : doubles(150, (i) => 0.1 * Math.cos(i));
    native.preferenceLoss(loss, dvalues, values, reference, targets, kind, 0.6, 0.1, 0.2, 77);
    const [dx, more] = [b.out(x.shape), b.draw(x.shape, 2)];
    native.sequenceSumsBackward(fresh(dx), dvalues, rows, bounds, -0.7, average);
    native.sequenceSumsBackward(added(more), dvalues, rows, bounds, -0.7, average);
    return [values, loss, dvalues, dx, more];
  },
});

/** Both norms and their gradients; `apart`: rows that lie 3 elements apart and cannot be read in whole packs. */
function normCall(rows: number, cols: number, apart = 0): Call {
  return {
    name: `norms: [${rows},${cols}]${apart ? ' in a window' : ''}`,
    run: (b) => {
      const of = (t: Tensor) => window(t, 0, [rows, cols], t.stride);
      const wide = (seed: number) => of(b.draw([rows, cols + apart], seed));
      const [x, dy] = [wide(1), wide(2)];
      const statistics = () => b.out([rows], 'f32');
      return (['bf16', 'f32'] as const).flatMap((dtype) => {
        const [weight, bias] = [b.draw([cols], 3, { dtype }), b.draw([cols], 4, { dtype })];
        const [y, rstd, dx] = [b.out([rows, cols]), statistics(), wide(5)];
        const dw = b.draw([cols], 6, { dtype: 'f32' });
        native.rmsnormForward(y, rstd, x, weight, 1e-5);
        native.rmsnormBackward(added(dx), added(dw), dy, x, weight, rstd);
        const [z, mean, rest, dz] = [b.out([rows, cols]), statistics(), statistics(), b.out([rows, cols])];
        const [dv, db] = [b.out([cols], 'f32'), b.draw([cols], 7, { dtype: 'f32' })];
        native.layernormForward(z, mean, rest, x, weight, dtype === 'f32' ? bias : undefined, 1e-5);
        native.layernormBackward(fresh(dz), fresh(dv), added(db), dy, x, weight, mean, rest);
        const dense = b.out([rows, cols]);
        native.copy(dense, dx);
        return [y, rstd, dense, dw, z, mean, rest, dz, dv, db];
      });
    },
  };
}

/** Runs `body` with the kernels of products that TRAIN_MOE_GEMM names; the CPU does not ask. */
export function by<T>(kernel: string, body: () => T): T {
  process.env.TRAIN_MOE_GEMM = kernel;
  try {
    return body();
  } finally {
    delete process.env.TRAIN_MOE_GEMM;
  }
}

/** The dense products of a linear layer by another kernel than the usual one. */
function productBy(kernel: string, rows: number, depth: number, cols: number): Call {
  return {
    name: `linear by ${kernel}: [${rows},${depth}] x [${cols},${depth}]`,
    dtypes: ['bf16'],
    run: (b) => {
      const [x, weight, bias] = [b.draw([rows, depth], 1), b.draw([cols, depth], 2), b.draw([cols], 3)];
      const [y, narrow, biased] = [b.out([rows, cols], 'f32'), b.out([rows, cols]), b.out([rows, cols])];
      const [dx, more] = [b.out([rows, depth]), b.draw([rows, depth], 4)];
      const [dweight, sums] = [b.out([cols, depth], 'f32'), b.draw([cols, depth], 5, { dtype: 'f32' })];
      const dy = b.draw([rows, cols], 6);
      by(kernel, () => {
        native.linearForward(y, x, weight, bias);
        native.linearForward(narrow, x, weight, undefined);
        native.linearForward(biased, x, weight, bias);
        native.linearBackward(fresh(dx), fresh(dweight), nobody, dy, x, weight);
        native.linearBackward(added(more), added(sums), nobody, dy, x, weight);
      });
      return [y, narrow, biased, dx, dweight, more, sums];
    },
  };
}

/** Weight gradients of many rows and few tiles, which are summed in pieces. */
function piecesBy(kernel: string, rows: number, inner: number, outer: number): Call {
  return {
    name: `weight gradient in pieces by ${kernel}: [${rows},${inner}] and [${rows},${outer}]`,
    dtypes: ['bf16'],
    run: (b) => {
      const [x, weight, dy] = [b.draw([rows, inner], 1), b.draw([outer, inner], 2), b.draw([rows, outer], 3)];
      const [dw, sums] = [b.out([outer, inner], 'f32'), b.draw([outer, inner], 4, { dtype: 'f32' })];
      by(kernel, () => {
        native.linearBackward(nobody, fresh(dw), nobody, dy, x, weight);
        native.linearBackward(nobody, added(sums), nobody, dy, x, weight);
      });
      return [dw, sums];
    },
  };
}

/** Experts' rows, in order or looked up, by Hopper's kernel. */
function expertsByHopper(
  counts: readonly number[],
  inner: number,
  outer: number,
  spare: number,
  gather: boolean,
): Call {
  const offsets = [0];
  for (const n of counts) offsets.push(offsets.at(-1)! + n);
  const rows = offsets.at(-1)! + spare;
  return {
    name: `grouped_linear by hopper: ${counts.join('+')} rows ${gather ? 'looked up ' : ''}and ${spare} of nobody`,
    dtypes: ['bf16'],
    tolerance: 2e-2,
    run: (b) => {
      const [x, weight] = [b.draw([rows, inner], 1), b.draw([counts.length, outer, inner], 2)];
      const [y, dx] = [b.out([rows, outer]), b.out([rows, inner])];
      const [dweight, dy] = [b.out(weight.shape, 'f32'), b.draw([rows, outer], 3)];
      const at = b.ints([offsets.length], (i) => offsets[i]!);
      const from = gather ? b.ints([rows], (i) => (i * 13 + 5) % rows) : undefined;
      by('hopper', () => {
        native.groupedLinearForward(y, x, weight, at, from);
        native.groupedLinearBackward(fresh(dx), fresh(dweight), dy, x, weight, at, from);
      });
      return [y, dx, dweight];
    },
  };
}

/** More rows than one chunk of logits holds. */
function headCall(rows: number, hidden: number, vocabulary: number): Call {
  return {
    name: `linear_cross_entropy in chunks: ${rows} rows`,
    dtypes: ['bf16'],
    tolerance: 2e-2,
    run: (b) => {
      const [x, weight] = [b.draw([rows, hidden], 1), b.draw([vocabulary, hidden], 2)];
      const dnll = b.draw([rows], 3, { dtype: 'f32' });
      const targets = b.ints([rows], (i) => (i % 7 === 3 ? -1 : (i * 5) % vocabulary));
      const [nll, lse] = [b.out([rows], 'f32'), b.out([rows], 'f32')];
      const [dx, dweight, dbias] = [b.out([rows, hidden]), b.draw([vocabulary, hidden], 4, { dtype: 'f32' }), nobody];
      native.linearCrossEntropyTrain(
        nll,
        lse,
        fresh(dx),
        added(dweight),
        dbias,
        dnll,
        x,
        weight,
        undefined,
        targets,
        1e-3,
      );
      return [nll, lse, dx, dweight];
    },
  };
}

export const calls: readonly Call[] = [
  headCall(4200, 16, 24),
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
  decodeCall('grouped heads, two spans', 6, 2, 64, 64, [700, 1, 130]),
  decodeCall('many heads to a group', 40, 1, 128, 96, [33, 64, 65]),
  decodeCall('odd channels', 3, 3, 20, 12, [17, 40, 5]),
  decodeCall('channels that all heads share', 6, 3, 48, 32, [520, 1, 65], 16),
  decodeCall('odd channels, some that all heads share', 4, 2, 12, 12, [17, 40, 5], 7),
  sharedPagesCall('three heads to a group', 6, 2, 32, 32),
  sharedPagesCall('one group, also latent', 4, 1, 48, 32),
  latentCall('576/512', 20, 576, 512, [70, 16]),
  latentCall('16 heads of 576/512', 16, 576, 512, [70, 16, 1100]),
  latentCall('48/32', 4, 48, 32, [1, 64, 513]),
  latentCall('many heads of 208/144', 48, 208, 144, [77, 1, 33]),
  batchedDecodeCall(12, [2100, 1, 513, 512, 1024, 1025, 1600, 0, 33, 1536, 2049, 7, 5000, 600, 4097, 4096]),
  batchedDecodeCall(24, [1537, 700, 0, 2200, 1, 512]),
  normCall(21, 40),
  normCall(37, 264),
  normCall(3, 2056),
  normCall(2, 7176),
  normCall(18, 33),
  normCall(9, 64, 3),
  productCall(200, 96, 300),
  productCall(5, 40, 24),
  productCall(67, 33, 35),
  routerCall(256, 72, 250),
  routerCall(250, 136, 60),
  routerCall(20, 300, 30),
  routerCall(130, 33, 67),
  productBy('hopper', 200, 168, 152),
  productBy('hopper', 70, 400, 131),
  productBy('hopper', 700, 136, 400),
  expertsByHopper([0, 140, 1, 0, 37], 72, 56, 5, false),
  expertsByHopper([3, 0, 131, 20], 392, 40, 4, true),
  expertsByHopper([200, 0, 310, 129], 264, 200, 3, true),
  expertsCall([0, 70, 1, 0, 130, 5], 90, 48, 72, 9),
  expertsCall([3, 0, 2], 7, 9, 11, 0),
  expertsCall(
    Array.from({ length: 40 }, (_, e) => (e * 7) % 5),
    60,
    16,
    24,
    3,
  ),
  sampleCall('greedy with a penalty', [0, 1, 0, 1.3], 0),
  sampleCall('temperature', [0.7, 1, 0, 1], 0),
  sampleCall('top-k', [1, 1, 0, 1.2], 12),
  sampleCall('top-p', [1.1, 0.8, 0, 1], 0),
  sampleCall('everything', [0.9, 0.9, 0.02, 1.1], 40),
  balance('V3, own choice', true, true, 0),
  balance('V2 with devices', false, false, 3),
  preferenceCall('pairs', 0, false),
  preferenceCall('IPO, averaged', 1, true),
  preferenceCall('labels', 3, false),
  policyCall('ratios of tokens, k3', false, 2),
  policyCall('ratios of samples, k3 without bias', true, 3),
  {
    name: 'moe_plan and embedding: sorted stably',
    run: (b) => {
      const [tokens, active, experts] = [300, 3, 7];
      const chosen = b.ints([tokens, active], (i) => (i % 23 === 5 ? -1 : (i * i + (i >> 3)) % experts));
      const [offsets, rows, inverse] = [
        b.out([experts + 1], 'i32'),
        b.out([900], 'i32'),
        b.out([tokens, active], 'i32'),
      ];
      native.moePlan(offsets, rows, inverse, chosen);
      const dtable = b.draw([70, 24], 1, { dtype: 'f32' });
      native.embeddingBackward(
        added(dtable),
        b.draw([tokens, 24], 2),
        b.ints([tokens], (i) => (i * 29 + (i >> 2)) % 70),
        0.5,
      );
      // Runs of one id that are longer than what is loaded at once.
      const few = b.draw([5, 24], 3, { dtype: 'f32' });
      const ids = b.ints([tokens], (i) => (i % 19 === 0 ? 2 : i < 40 ? 4 : (i >> 6) % 2));
      native.embeddingBackward(added(few), b.draw([tokens, 24], 4), ids, 0.25);
      return [offsets, rows, inverse, dtable, few];
    },
  },
  {
    name: 'moe_plan: more counts than are added up at once',
    dtypes: ['f32'],
    run: (b) => {
      const chosen = b.ints([700, 1], (i) => (i * 1171) % 4096);
      const [offsets, rows, inverse] = [b.out([4097], 'i32'), b.out([700], 'i32'), b.out([700, 1], 'i32')];
      native.moePlan(offsets, rows, inverse, chosen);
      return [offsets, rows, inverse];
    },
  },
  ...[536, 33].map(
    (width): Call => ({
      name: `combine: more choices than are loaded at once, ${width} channels`,
      run: (b) => {
        const [tokens, active, rows] = [13, 6, 90];
        const x = b.draw([rows, width], 1);
        const inverse = b.ints([tokens, active], (i) => (i % 11 === 3 ? -1 : (i * 17) % 89));
        const weights = b.draw([tokens, active], 2, { dtype: 'f32' });
        const [y, dy, dx] = [b.out([tokens, width]), b.draw([tokens, width], 3), b.out([rows, width])];
        const dweights = b.draw([tokens, active], 4, { dtype: 'f32' });
        native.combineForward(y, x, inverse, weights);
        native.combineBackward(fresh(dx), added(dweights), dy, x, inverse, weights);
        return [y, dx, dweights];
      },
    }),
  ),
  {
    name: 'rope: both layouts, back again',
    run: (b) => {
      const table = b.draw([40, 16], 1, { dtype: 'f32' });
      const positions = b.ints([21], (i) => (i * 3) % 40);
      const wide = b.draw([21, 3, 24], 2);
      const x = window(wide, 8, [21, 3, 16], wide.stride);
      native.rope(x, table, positions, true, false);
      native.rope(x, table, positions, false, true);
      // Two halves that cannot be read in whole packs, many heads, and channels at an odd address.
      const [narrow, many, base] = [b.draw([21, 2, 24], 3), b.draw([21, 19, 16], 4), b.draw([21, 3, 24], 5)];
      const odd = window(base, 3, [21, 3, 16], base.stride);
      native.rope(narrow, b.draw([40, 24], 6, { dtype: 'f32' }), positions, false, false);
      for (const interleaved of [true, false]) {
        native.rope(many, table, positions, interleaved, false);
        native.rope(odd, table, positions, interleaved, true);
      }
      return [wide, narrow, many, base];
    },
  },
  {
    name: 'cache_write: some rows skipped',
    run: (b) => {
      const cache = b.draw([30, 24], 1);
      native.cacheWrite(
        cache,
        b.draw([10, 24], 2),
        b.ints([10], (i) => (i % 4 === 1 ? -1 : i * 3)),
      );
      return [cache];
    },
  },
  {
    name: 'random_normal and dropout',
    run: (b) => {
      const y = b.out([1003]);
      native.randomNormal(y, 0.5, 2, 12345678901);
      const x = b.draw([7, 33], 1);
      const kept = b.draw([7, 33], 2);
      native.dropout(added(kept), x, 0.4, 99);
      return [y, kept];
    },
  },
  {
    name: 'adamw, sums, clipping, averages',
    run: (b) => {
      // One tensor of several tiles, one of a part of a tile, one at an odd address, one without a gradient.
      const sizes = [17_000, 1999, 512, 40];
      const odd = (t: Tensor) => window(t, 3, [t.size - 5], [1]);
      const at = (t: Tensor, i: number) => (i === 2 ? odd(t) : t);
      const all = (seed: number, dtype: DType = b.dtype) =>
        sizes.map((n, i) => at(b.draw([n], seed + i, { dtype, scale: 0.5 }), i));
      const constant = (value: number, dtype: DType = b.dtype) =>
        sizes.map((n, i) => {
          const t = b.out([n], dtype);
          native.fill(t, value);
          return at(t, i);
        });
      const [masters, gradients, m, v] = [all(1, 'f32'), all(11), constant(0.25), constant(0.5)];
      const copies = constant(0, 'bf16').map((t, i) => (i === 1 ? undefined : t));
      const [sum, scale, norm] = [b.out([1], 'f64'), b.out([1], 'f32'), b.out([1], 'f32')];
      native.sumSquares(fresh(sum), gradients);
      native.dot(added(sum), masters[1]!, masters[1]!);
      native.clipScale(scale, norm, sum, lossesOf(b, 0.5), 1.5);
      const taken = gradients.map((g, i) => (i === 3 ? undefined : g));
      const decays = [0.1, 0, 0.1, 0.1];
      const rates = ratesOf(b, 1e-2, 2);
      native.adamw(masters, copies, taken, m, v, decays, scale, rates, 0.9, 0.95, 1e-8);
      const averages = all(21);
      native.lerp(averages, masters, 0.3);
      const stacked = b.out([5], 'f64');
      native.stack(stacked, [norm, sum, scale, ...[0, 2].map((i) => window(masters[i]!, 1, [1], [1]))]);
      return [...masters, ...m, ...v, scale, norm, ...copies.filter((c) => c !== undefined), ...averages, stacked];
    },
  },
  {
    name: 'adamw: nothing changes where the norm or a loss is not finite',
    run: (b) => {
      const results = [Number.POSITIVE_INFINITY, Number.NaN].flatMap((bad, i) => {
        const one = (seed: number) => b.draw([600], seed);
        const [p, g, m, v] = [b.draw([600], 1, { dtype: 'f32' }), one(2), one(3), one(4)];
        const [sum, scale, norm] = [b.out([1], 'f64'), b.out([1], 'f32'), b.out([1], 'f32')];
        native.fill(sum, i === 0 ? bad : 1);
        native.clipScale(scale, norm, sum, lossesOf(b, i === 0 ? 1 : bad), 1);
        const [bytes, scales] = [b.out([600], 'u8'), b.out([3], 'f32')];
        native.fill(bytes, 7);
        native.fill(scales, 0.5);
        const bias = b.draw([8], 6, { dtype: 'f32' });
        const rates = ratesOf(b, 1e-2, 1);
        native.adamw([p], [undefined], [g], [m], [v], [0.1], scale, rates, 0.9, 0.95, 1e-8);
        const copy = b.draw([600], 9, { dtype: 'bf16' });
        native.adamw8bit([p], [copy], [g], [bytes], [bytes], [scales], [scales], [0.1], scale, rates, 0.9, 0.95, 1e-8);
        native.routerBias([bias], [b.ints([8], (e) => e)], scale, 0.1);
        return [p, m, v, copy, bytes, scales, bias];
      });
      return results;
    },
  },
  ...([true, false] as const).map(
    (masters): Call => ({
      name: `adamw: 8-bit moments, ${masters ? 'f32 masters' : 'bf16 parameters rounded at random'}`,
      run: (b) => {
        const sizes = [1300, 9000, 300];
        const of = (make: (n: number, i: number) => Tensor) => sizes.map(make);
        const filled = (t: Tensor, value: number) => {
          native.fill(t, value);
          return t;
        };
        const p = of((n, i) => b.draw([n], 1 + i, { dtype: masters ? 'f32' : 'bf16' }));
        const [m, root] = [of((n) => filled(b.out([n], 'u8'), 0)), of((n) => filled(b.out([n], 'u8'), 0))];
        const scales = () => of((n) => filled(b.out([Math.ceil(n / 256)], 'f32'), 0));
        const [ms, rs, scale] = [scales(), scales(), filled(b.out([1], 'f32'), 0.5)];
        const copies = of((n) => b.out([n], 'bf16')).map((t) => (masters ? t : undefined));
        const decays = [0.1, 0, 0.1];
        for (const step of [1, 2, 3]) {
          const g = of((n, i) => b.draw([n], 10 * step + i));
          const rates = ratesOf(b, 1e-2, step);
          native.adamw8bit(p, copies, g, m, root, ms, rs, decays, scale, rates, 0.9, 0.95, 1e-8);
        }
        return [...p, ...m, ...root, ...ms, ...rs, ...copies.filter((c) => c !== undefined)];
      },
    }),
  ),
  {
    name: 'adamw: bf16 parameters rounded at random',
    run: (b) => {
      const of = (make: (n: number, i: number) => Tensor) => [1003, 256].map(make);
      const p = of((n, i) => b.draw([n], 1 + i, { dtype: 'bf16' }));
      const [m, v] = [of((n) => b.out([n])), of((n) => b.out([n]))];
      for (const t of m) native.fill(t, 0.25);
      for (const t of v) native.fill(t, 0.5);
      const scale = b.out([1], 'f32');
      native.fill(scale, 1);
      const none = [undefined, undefined];
      const g = of((n, i) => b.draw([n], 12 + i));
      native.adamw(p, none, g, m, v, [0.1, 0.1], scale, ratesOf(b, 1e-2, 7), 0.9, 0.95, 1e-8);
      return [...p, ...m, ...v];
    },
  },
  {
    name: 'add_counts and router_bias: layers beyond one launch',
    dtypes: ['f32'],
    tolerance: 1e-7,
    run: (b) => {
      const layers = Array.from({ length: 20 }, (_, i) => i);
      const experts = (i: number) => (i % 3 === 0 ? 130 : 8);
      const counts = (by: number) => layers.map((i) => b.ints([experts(i)], (e) => (e * by + i) % 11));
      const loads = counts(5);
      native.addCounts(loads, counts(7));
      const biases = layers.map((i) => b.draw([experts(i)], i));
      const scale = b.out([1], 'f32');
      native.fill(scale, 0.5);
      native.routerBias(biases, loads, scale, 0.25);
      return [...biases, ...loads];
    },
  },
  {
    name: 'linear_cross_entropy_train',
    tolerance: 3e-2,
    run: (b) => {
      const [rows, hidden, vocabulary] = [37, 24, 90];
      const [x, weight, bias] = [b.draw([rows, hidden], 1), b.draw([vocabulary, hidden], 2), b.draw([vocabulary], 3)];
      const targets = b.ints([rows], (i) => (i % 5 === 2 ? -1 : (i * 17) % vocabulary));
      const dnll = b.draw([rows], 4, { dtype: 'f32' });
      const [nll, lse] = [b.out([rows], 'f32'), b.out([rows], 'f32')];
      const [dx, dweight, dbias] = [
        b.out(x.shape),
        b.draw(weight.shape, 5, { dtype: 'f32' }),
        b.out([vocabulary], 'f32'),
      ];
      native.linearCrossEntropyTrain(
        nll,
        lse,
        fresh(dx),
        added(dweight),
        fresh(dbias),
        dnll,
        x,
        weight,
        bias,
        targets,
        0.01,
      );
      return [nll, lse, dx, dweight, dbias];
    },
  },
  piecesBy('hopper', 6400, 40, 24),
  piecesBy('portable', 6200, 20, 13),
  routed('tokens of several blocks', 50, 40, 4, 4),
  routed('more experts than leave a block all its warps', 9, 1500, 3, 1),
  {
    name: 'sample: greedy takes the first of 0 and -0',
    run: (b) => {
      const row = (first: number) => Array.from({ length: 90 }, (_, i) => (i < 7 ? -1 : i % 2 ? first : -first));
      const logits = b.out([2, 90]).write(Float32Array.from([...row(0), ...row(-0)]));
      const settings = b.out([2, 4], 'f32').write(Float32Array.of(0, 1, 0, 1, 0, 1, 0, 1));
      const [ids, logprob] = [b.out([2], 'i32'), b.out([2], 'f32')];
      const none = b.ints([2], () => 0);
      native.sample(
        ids,
        logprob,
        logits,
        settings,
        none,
        b.ints([2, 2], () => 1),
        undefined,
      );
      return [ids, logprob];
    },
  },
  {
    name: 'copy: a large tensor, and windows of it',
    run: (b) => {
      const x = b.draw([600, 1000], 1);
      const [whole, part, rest] = [b.out(x.shape), b.out(x.shape), b.out([600, 900])];
      native.copy(whole, x);
      native.copy(part, x);
      native.copy(window(part, 100, rest.shape, part.stride), window(x, 0, rest.shape, x.stride));
      native.copy(rest, window(part, 50, rest.shape, part.stride));
      return [whole, part, rest];
    },
  },
];

/** Results as numbers. */
export const valuesOf = (t: Tensor): ArrayLike<number> =>
  t.dtype === 'i32' ? t.readInts() : t.dtype === 'f64' ? t.readDoubles() : t.dtype === 'u8' ? t.readBytes() : t.read();
