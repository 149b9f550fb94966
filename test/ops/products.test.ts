import { describe, expect, it } from 'vitest';
import * as native from '../../src/native.gen.js';
import { addon } from '../../src/native.js';
import { type Device, type DType, empty, from, type Shape, scope, type Tensor } from '../../src/tensor/index.js';
import { window } from '../../src/tensor/tensor.js';
import { devices, randomValues, relativeError } from './harness.js';

/*
 * What matrix products promise beyond being right: bits that depend on a row alone, gradients that add up over part
 * batches, packed weights that follow every write.
 */

const draw = (shape: Shape, seed: number, device: Device, dtype: DType = 'f32', weight = false): Tensor =>
  from(Float32Array.from(randomValues(shape, seed)), shape, { dtype, device, weight });

/** Rows first .. first+count of a matrix, without gradient bookkeeping. */
const part = (x: Tensor, first: number, count: number): Tensor =>
  window(x, first * x.shape[1]!, [count, x.shape[1]!], x.stride);

const absent = { id: 0, beta: 0 } as const;

for (const device of devices()) {
  describe(`products (${device.name})`, () => {
    for (const dtype of ['f32', 'bf16'] as const)
      it(`give a row the same bits alone, in a small batch and in a large one (${dtype})`, () => {
        scope(() => {
          const [rows, depth, cols] = [211, 601, 131];
          const x = draw([rows, depth], 1, device, dtype);
          const weight = draw([cols, depth], 2, device, dtype, true);
          const bias = draw([cols], 3, device);
          const whole = empty([rows, cols], { device });
          native.linearForward(whole, x, weight, bias);
          const all = whole.read();
          for (const [first, count] of [
            [0, 1],
            [210, 1],
            [100, 2],
            [17, 3],
            [40, 5],
            [3, 16],
            [57, 100],
          ] as const) {
            const y = empty([count, cols], { device });
            native.linearForward(y, part(x, first, count), weight, bias);
            expect(y.read()).toEqual(all.subarray(first * cols, (first + count) * cols));
          }
        });
      });

    it.each(['f32', 'bf16'] as const)('give SwiGLU the bits of two ops, however it is cut (%s)', (dtype) => {
      scope(() => {
        for (const [rows, depth, cols] of [
          [130, 70, 320],
          [130, 70, 323],
          [1, 300, 96],
          [3, 40, 17],
        ] as const) {
          const [x, weight] = [draw([rows, depth], 1, device, dtype), draw([2 * cols, depth], 2, device, dtype, true)];
          const out = (width: number) => empty([rows, width], { dtype, device });
          const [y, gateUp, apart, product] = [out(cols), out(2 * cols), out(cols), out(2 * cols)];
          native.linearSwiglu(y, gateUp, x, weight);
          native.linearForward(product, x, weight, undefined);
          native.swigluForward(apart, product);
          expect(gateUp.read()).toEqual(product.read());
          expect(y.read()).toEqual(apart.read());
        }
      });
    });

    it.each(['f32', 'bf16'] as const)(
      'give an expert row the bits of a plain product with its weight (%s)',
      (dtype) => {
        scope(() => {
          const [rows, depth, cols] = [90, 300, 50];
          const x = draw([rows, depth], 1, device, dtype);
          const weights = draw([3, cols, depth], 2, device, dtype, true);
          const grouped = empty([rows, cols], { device });
          native.groupedLinearForward(
            grouped,
            x,
            weights,
            from(Int32Array.of(0, 2, 2, 90), [4], { device }),
            undefined,
          );
          const last = from(weights.read().subarray(2 * cols * depth), [cols, depth], { device, dtype });
          const plain = empty([1, cols], { device });
          native.linearForward(plain, part(x, 77, 1), last, undefined);
          expect(plain.read()).toEqual(grouped.read().subarray(77 * cols, 78 * cols));
        });
      },
    );

    // The chains of bf16 products may have links of up to 32 rows (gemm.h): parts are cut between them.
    it.each([
      ['f32', 61],
      ['bf16', 64],
    ] as const)('add up to the same bits over part batches as over the whole (%s)', (dtype, cut) => {
      scope(() => {
        const [rows, depth, cols] = [150, 40, 33];
        const x = draw([rows, depth], 1, device, dtype);
        const dy = draw([rows, cols], 2, device, dtype);
        const weight = draw([cols, depth], 3, device, dtype);
        const whole = empty([cols, depth], { device });
        const parts = empty([cols, depth], { device });
        native.linearBackward(absent, { id: whole.id, beta: 0 }, absent, dy, x, weight);
        for (const [beta, first, count] of [
          [0, 0, cut],
          [1, cut, rows - cut],
        ] as const)
          native.linearBackward(
            absent,
            { id: parts.id, beta },
            absent,
            part(dy, first, count),
            part(x, first, count),
            weight,
          );
        expect(parts.read()).toEqual(whole.read());
      });
    });

    it.runIf(device.name === 'cpu-avx512bf16' && !addon.hostInfo().features.includes('amx_bf16'))(
      'are chains over pairs of k, the odd step first, each rounded once',
      () => {
        scope(() => {
          const [rows, depth, cols] = [31, 777, 45];
          const x = draw([rows, depth], 1, device, 'bf16');
          const weight = draw([cols, depth], 2, device, 'bf16');
          const y = empty([rows, cols], { device });
          native.linearForward(y, x, weight, undefined);
          const [xs, ws] = [x.read(), weight.read()];
          const expected = Float32Array.from({ length: rows * cols }, (_, i) => {
            const product = (k: number) =>
              k < depth ? xs[Math.floor(i / cols) * depth + k]! * ws[(i % cols) * depth + k]! : 0;
            let sum = 0;
            for (let k = 0; k < depth; k += 2) sum = Math.fround(Math.fround(sum + product(k + 1)) + product(k));
            return sum;
          });
          expect(y.read()).toEqual(expected);
        });
      },
    );

    it.each(['f32', 'bf16'] as const)('see a weight written since it was packed, and its views apart (%s)', (dtype) => {
      scope(() => {
        const x = draw([3, 8], 1, device, dtype);
        const weight = draw([12, 8], 2, device, dtype, true);
        const packed = (rows: Tensor) => {
          const dy = draw([3, rows.shape[0]!], 3, device, dtype);
          const y = empty([3, rows.shape[0]!], { device });
          const dx = empty([3, 8], { device });
          native.linearForward(y, x, rows, undefined);
          native.linearBackward({ id: dx.id, beta: 0 }, absent, absent, dy, x, rows);
          return [y.read(), dx.read()];
        };
        const plain = (rows: Tensor) => packed(from(rows.read(), rows.shape, { device, dtype }));
        for (let round = 0; round < 3; round++) {
          // Six layouts in four slots: the oldest must give way without being mistaken for another.
          for (const [first, count] of [
            [0, 12],
            [0, 6],
            [6, 6],
            [2, 3],
            [3, 3],
            [4, 1],
            [0, 12],
          ] as const)
            expect(packed(part(weight, first, count))).toEqual(plain(part(weight, first, count)));
          weight.write(Float32Array.from(randomValues([12, 8], 10 + round)));
        }
      });
    });

    // A weight that is not kept packed is read in place by few rows, and packed piece by piece or beforehand by more.
    it.each([
      ['f32', 'f32'],
      ['bf16', 'bf16'],
      ['f32', 'bf16'],
      ['bf16', 'f32'],
    ] as const)('have the same bits whether a weight is kept packed or not (%s times %s)', (dtype, weightType) => {
      scope(() => {
        for (const [depth, cols] of [
          [1, 1],
          [35, 70],
          [601, 133],
          [64, 1100],
        ] as const) {
          const values = Float32Array.from(randomValues([cols, depth], 2));
          const weights = [true, false].map((weight) =>
            from(values, [cols, depth], { device, dtype: weightType, weight }),
          );
          const bias = draw([cols], 3, device);
          const [xs, dys] = [draw([193, depth], 4, device, dtype), draw([193, cols], 5, device, dtype)];
          for (const rows of [1, 2, 3, 4, 5, 33, 193]) {
            const [x, dy] = [part(xs, 0, rows), part(dys, 0, rows)];
            const [packed, plain] = weights.map((weight) => {
              const y = empty([rows, cols], { device, dtype });
              const dx = draw([rows, depth], 6, device);
              native.linearForward(y, x, weight, rows % 2 ? bias : undefined);
              native.linearBackward({ id: dx.id, beta: rows % 2 ? 1 : 0 }, absent, absent, dy, x, weight);
              return [y.read(), dx.read()];
            });
            expect(plain, `${rows} rows of ${depth} x ${cols}`).toEqual(packed);
          }
        }
      });
    });

    it.each(['f32', 'bf16'] as const)(
      'add up a weight gradient over a few rows at a time to the same bits (%s)',
      (dtype) => {
        // Links of the chain: single rows, or pairs of bf16 ones; the matrix unit's are longer than a few rows.
        if (dtype === 'bf16' && addon.hostInfo().features.includes('amx_bf16')) return;
        scope(() => {
          for (const [depth, cols] of [
            [40, 33],
            [1100, 3],
            [7, 530],
          ] as const) {
            const rows = 41;
            const x = draw([rows, depth], 1, device, dtype);
            const dy = draw([rows, cols], 2, device, dtype);
            const weight = draw([cols, depth], 3, device, dtype);
            const whole = empty([cols, depth], { device });
            const parts = empty([cols, depth], { device });
            const add = (to: Tensor, first: number, count: number) =>
              native.linearBackward(
                absent,
                { id: to.id, beta: first ? 1 : 0 },
                absent,
                part(dy, first, count),
                part(x, first, count),
                weight,
              );
            add(whole, 0, rows);
            const counts = dtype === 'f32' ? [1, 2, 3, 4, 1, 5, 25] : [2, 4, 6, 8, 2, 16, 3];
            let first = 0;
            for (const count of counts) {
              add(parts, first, count);
              first += count;
            }
            expect(first).toBe(rows);
            expect(parts.read(), `${cols} x ${depth}`).toEqual(whole.read());
          }
        });
      },
    );

    it('take per-head matrices either way round', () => {
      scope(() => {
        const [rows, heads, depth, cols] = [5, 2, 7, 40];
        const x = draw([rows, heads, depth], 1, device);
        const weight = draw([heads, depth, cols], 2, device);
        const flipped = new Float32Array(heads * cols * depth);
        weight.read().forEach((v, i) => {
          const [h, k, n] = [Math.floor(i / (depth * cols)), Math.floor(i / cols) % depth, i % cols];
          flipped[(h * cols + n) * depth + k] = v;
        });
        const results = [true, false].map((transposed) => {
          const y = empty([rows, heads, cols], { device });
          const w = transposed ? weight : from(flipped, [heads, cols, depth], { device });
          native.headsLinear(y, x, w, transposed);
          return y.read();
        });
        expect(results[0]).toEqual(results[1]);
      });
    });
  });

  it(`cross_entropy_backward adds to a bf16 gradient what it adds to an f32 one (${device.name})`, () => {
    scope(() => {
      const [rows, size] = [6, 45];
      const logits = draw([rows, size], 1, device, 'bf16');
      const wide = from(logits.read(), [rows, size], { device });
      const targets = from(Int32Array.of(0, 44, -1, 31, 32, 7), [rows], { device });
      const [nll, lse, dnll] = [empty([rows], { device }), empty([rows], { device }), draw([rows], 2, device)];
      native.crossEntropyForward(nll, lse, undefined, logits, targets, 1.5);
      const before = draw([rows, size], 3, device, 'bf16');
      const after = [before, from(before.read(), [rows, size], { device })].map((dlogits, i) => {
        native.crossEntropyBackward({ id: dlogits.id, beta: 1 }, dnll, lse, lse, i ? wide : logits, targets, 1.5);
        return dlogits.read();
      });
      expect(relativeError(after[0]!, after[1]!)).toBeLessThan(4e-3);
    });
  });

  describe(`linear_cross_entropy_train (${device.name})`, () => {
    for (const dtype of ['f32', 'bf16'] as const)
      it(`equals forward and backward with dlse = 2 z lse dnll (${dtype})`, () => {
        scope(() => {
          const [rows, hidden, vocabulary, z] = [300, 12, 33, 0.25]; // two chunks of rows
          const x = draw([rows, hidden], 1, device, dtype);
          const weight = draw([vocabulary, hidden], 2, device, dtype);
          const bias = draw([vocabulary], 3, device);
          const dnll = draw([rows], 4, device);
          const ids = Int32Array.from({ length: rows }, (_, r) => (r % 7 === 3 ? -1 : (r * 5) % vocabulary));
          const targets = from(ids, [rows], { device });
          const make = () => ({
            nll: empty([rows], { device }),
            lse: empty([rows], { device }),
            dx: empty([rows, hidden], { device, dtype }),
            dweight: empty([vocabulary, hidden], { device }),
            dbias: empty([vocabulary], { device }),
          });
          const acc = (t: Tensor) => ({ id: t.id, beta: 0 }) as const;
          const once = make();
          const [dx, dw, db] = [acc(once.dx), acc(once.dweight), acc(once.dbias)];
          native.linearCrossEntropyTrain(once.nll, once.lse, dx, dw, db, dnll, x, weight, bias, targets, z);
          const apart = make();
          native.linearCrossEntropyForward(apart.nll, apart.lse, undefined, x, weight, bias, targets, 1);
          const [lse, up] = [apart.lse.read(), dnll.read()];
          const dlse = from(
            lse.map((l, r) => (ids[r]! < 0 ? 0 : Math.fround(2 * z) * l * up[r]!)),
            [rows],
            { device },
          );
          native.linearCrossEntropyBackward(
            acc(apart.dx),
            acc(apart.dweight),
            acc(apart.dbias),
            dnll,
            dlse,
            apart.lse,
            x,
            weight,
            bias,
            targets,
            1,
          );
          for (const key of ['nll', 'lse', 'dx', 'dweight', 'dbias'] as const)
            expect(relativeError(once[key].read(), apart[key].read()), key).toBeLessThan(
              key === 'dx' && dtype === 'bf16' ? 1e-2 : 1e-5,
            );
        });
      });
  });
}
