import * as native from '../../../src/native.gen.js';
import { from, type Tensor } from '../../../src/tensor/index.js';
import { window } from '../../../src/tensor/tensor.js';
import { added, type Call, fresh } from './bench.js';

/* The small layers of a model, and sampling. */

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

export const layerCalls: readonly Call[] = [
  normCall(21, 40),
  normCall(37, 264),
  normCall(3, 2056),
  normCall(2, 7176),
  normCall(18, 33),
  normCall(9, 64, 3),
  sampleCall('greedy with a penalty', [0, 1, 0, 1.3], 0),
  sampleCall('temperature', [0.7, 1, 0, 1], 0),
  sampleCall('top-k', [1, 1, 0, 1.2], 12),
  sampleCall('top-p', [1.1, 0.8, 0, 1], 0),
  sampleCall('everything', [0.9, 0.9, 0.02, 1.1], 40),
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
