import { describe, expect, it } from 'vitest';
import * as native from '../../src/native.gen.js';
import { addon } from '../../src/native.js';
import { attention } from '../../src/ops/attention.js';
import { attentionDecode, mlaDecode } from '../../src/ops/attention_decode.js';
import { type Device, type DType, empty, from, type Shape, scope, split, type Tensor } from '../../src/tensor/index.js';
import { window } from '../../src/tensor/tensor.js';
import { attend } from './attention_reference.js';
import { devices, randomValues, relativeError, type Values } from './harness.js';

/*
 * What attention promises beyond being right: a row's bits depend on its own query and keys alone, whether it is trained
 * in a packed batch or decoded over pages, in one piece or in several; accumulators are written whole.
 */

const draw = (shape: Shape, seed: number, device: Device, dtype: DType = 'f32'): Tensor =>
  from(Float32Array.from(randomValues(shape, seed)), shape, { dtype, device });
const ints = (data: readonly number[], shape: Shape, device: Device) => from(Int32Array.from(data), shape, { device });
const valuesOf = (x: Tensor): Values => ({ shape: x.shape, data: Float64Array.from(x.read()) });

/** Rows first .. first+count of x. */
const part = (x: Tensor, first: number, count: number): Tensor =>
  window(x, first * x.stride[0]!, [count, ...x.shape.slice(1)], x.stride);

interface Problem {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly ranges: readonly number[];
}

const scale = 0.3;

function forward({ q, k, v, ranges }: Problem, device: Device): { o: Tensor; lse: Tensor } {
  const [rows, heads] = q.shape as [number, number, number];
  const o = empty([rows, heads, v.shape[2]!], q);
  const lse = empty([rows, heads], { device });
  native.attentionForward(o, lse, q, k, v, undefined, ints(ranges, [rows, 2], device), scale);
  return { o, lse };
}

/** Scatters rows [S,...] over shuffled pages [Z,P,...]; returns the pages of each sequence too. */
function paged(x: Tensor, starts: readonly number[], lengths: readonly number[], page: number, device: Device) {
  const inner = x.shape.slice(1);
  const width = inner.reduce((a, b) => a * b, 1);
  const most = Math.max(...lengths.map((n) => Math.ceil(n / page)));
  const wanted = starts.length * most;
  const total = wanted % 7 === 0 ? wanted + 1 : wanted; // coprime to 7, so that steps of 7 meet every page once
  const cache = from(new Float32Array(total * page * width).fill(Number.NaN), [total * page, width], {
    dtype: x.dtype === 'bf16' ? 'bf16' : 'f32',
    device,
  });
  const table: number[] = [];
  starts.forEach((start, b) => {
    for (let p = 0; p < most; p++) table.push((7 * (b * most + p) + 3) % total);
    const slots = Array.from(
      { length: lengths[b]! },
      (_, j) => table[b * most + Math.floor(j / page)]! * page + (j % page),
    );
    native.cacheWrite(
      cache,
      window(part(x, start, lengths[b]!), 0, [lengths[b]!, width], [x.stride[0]!, 1]),
      ints(slots, [slots.length], device),
    );
  });
  return {
    cache: window(cache, 0, [total, page, ...inner], [page * width, width, ...x.stride.slice(1)]),
    pages: ints(table, [starts.length, most], device),
  };
}

for (const device of devices())
  describe(`attention (${device.name})`, () => {
    for (const dtype of ['f32', 'bf16'] as const)
      it(`gives a row the same bits alone, in its document and in a packed batch (${dtype})`, () => {
        scope(() => {
          const [before, length, heads] = [37, 300, 2];
          const total = before + length + 20;
          const q = draw([total, heads, 24], 1, device, dtype);
          const k = draw([total, 1, 24], 2, device, dtype);
          const v = draw([total, 1, 20], 3, device, dtype);
          const start = (r: number) => (r < before ? 0 : r < before + length ? before : before + length);
          const ranges = Array.from({ length: total }, (_, r) => [start(r), r + 1]).flat();
          const packed = forward({ q, k, v, ranges }, device);
          for (const [row, count] of [
            [0, length],
            [299, 1],
            [77, 3],
            [130, 90],
          ] as const) {
            const own = Array.from({ length: count }, (_, i) => [0, row + i + 1]).flat();
            const alone = forward(
              { q: part(q, before + row, count), k: part(k, before, length), v: part(v, before, length), ranges: own },
              device,
            );
            expect(alone.o.read()).toEqual(part(packed.o, before + row, count).read());
            expect(alone.lse.read()).toEqual(part(packed.lse, before + row, count).read());
          }
        });
      });

    it('equals its definition over thousands of keys, and decoding gives the same bits, split or not', () => {
      scope(() => {
        const keys = 2500;
        const q = draw([3, 2, 8], 1, device);
        const k = draw([keys, 2, 8], 2, device);
        const v = draw([keys, 2, 8], 3, device);
        const ranges = [0, 2500, 0, 1024, 0, 2049];
        const { o, lse } = forward({ q, k, v, ranges }, device);
        const expected = attend({ q: valuesOf(q), k: valuesOf(k), v: valuesOf(v), ranges, scale });
        expect(relativeError(o.read(), expected.data)).toBeLessThan(2e-5);
        expect(lse.read().every(Number.isFinite)).toBe(true);
        const key = paged(k, [0], [keys], 48, device);
        const value = paged(v, [0], [keys], 48, device);
        const layout = {
          pages: key.pages,
          sequence: ints([0, 0, 0], [3], device),
          lengths: ints([2500, 1024, 2049], [3], device),
        };
        const threads = addon.hostInfo().threads;
        try {
          for (const count of [1, 2, 7]) {
            addon.setThreads(count); // few tasks for many threads: the keys are split
            expect(attentionDecode(q, key.cache, value.cache, layout, scale).read()).toEqual(o.read());
          }
        } finally {
          addon.setThreads(threads);
        }
      });
    });

    for (const dtype of ['f32', 'bf16'] as const)
      it(`decodes over pages with the bits of training: prompts being read, samples of one prompt (${dtype})`, () => {
        scope(() => {
          const [page, depth, width] = [16, 12, 20];
          const starts = [0, 150];
          const lengths = [150, 90];
          const k = draw([240, 2, depth], 2, device, dtype);
          const v = draw([240, 2, width], 3, device, dtype);
          const key = paged(k, starts, lengths, page, device);
          const value = paged(v, starts, lengths, page, device);
          const sequence = [...Array<number>(40).fill(0), 1, 0, 1, 1, 0];
          const seen = [...Array.from({ length: 40 }, (_, i) => 60 + i), 90, 150, 64, 0, 1];
          const q = draw([sequence.length, 6, depth], 1, device, dtype);
          const layout = {
            pages: key.pages,
            sequence: ints(sequence, [sequence.length], device),
            lengths: ints(seen, [sequence.length], device),
          };
          const y = attentionDecode(q, key.cache, value.cache, layout, scale);
          sequence.forEach((b, r) => {
            const trained = forward(
              {
                q: part(q, r, 1),
                k: part(k, starts[b]!, lengths[b]!),
                v: part(v, starts[b]!, lengths[b]!),
                ranges: [0, seen[r]!],
              },
              device,
            );
            expect(part(y, r, 1).read()).toEqual(trained.o.read());
          });
        });
      });

    for (const [page, own, rest] of [
      [32, 20, 12], // pages of whole panels: keys are transposed where they lie
      [12, 9, 7],
    ] as const)
      it(`decodes keys whose last ${rest} channels all heads share with the bits of training`, () => {
        scope(() => {
          const [length, heads, width] = [150, 3, 10];
          const joint = draw([length, heads, own + width], 1, device); // keys and values side by side, as up-projected
          const shared = draw([length, rest], 2, device);
          const q = draw([length, heads, own + rest], 3, device);
          const cut = (x: Tensor) => split(x, [own, width]) as [Tensor, Tensor];
          const [k, v] = cut(joint);
          const causal = ints(Array.from({ length }, (_, r) => [0, r + 1]).flat(), [length, 2], device);
          const trained = attention(q, k, v, { kShared: shared, ranges: causal, scale });
          const store = paged(joint, [0], [length], page, device);
          const layout = {
            pages: store.pages,
            sequence: ints(Array<number>(length).fill(0), [length], device),
            lengths: ints(
              Array.from({ length }, (_, r) => r + 1),
              [length],
              device,
            ),
          };
          const [keys, values] = cut(store.cache);
          const decoded = attentionDecode(
            q,
            keys,
            values,
            layout,
            scale,
            paged(shared, [0], [length], page, device).cache,
          );
          expect(decoded.read()).toEqual(trained.read());
          expect(() => attentionDecode(q, keys, values, layout, scale)).toThrow(
            `attention_decode: q has ${own + rest} channels, but k and k_shared have ${own} + 0.`,
          );
        });
      });

    it('decodes samples that share the pages of their prompt as it does sequences apart', () => {
      scope(() => {
        const [page, depth, latent] = [8, 20, 13];
        const cache = draw([20, page, depth], 1, device);
        const q = draw([4, 3, depth], 2, device);
        const shared = [
          [4, 9, 2, 11, 0, 6, 13, 8, 5, 17],
          [4, 9, 2, 11, 0, 6, 13, 8, 3, 1],
          [4, 9, 2, 11, 0, 6, 13, 8, 7, 19],
          [4, 9, 2, 11, 0, 6, 13, 8, 5, 14],
        ];
        const lengths = [75, 66, 80, 72];
        const whole = mlaDecode(
          q,
          cache,
          {
            pages: ints(shared.flat(), [4, 10], device),
            sequence: ints([0, 1, 2, 3], [4], device),
            lengths: ints(lengths, [4], device),
          },
          latent,
          scale,
        );
        const rows = cache.read();
        for (let r = 0; r < 4; r++) {
          const one = mlaDecode(
            part(q, r, 1),
            cache,
            {
              pages: ints(shared[r]!, [1, 10], device),
              sequence: ints([0], [1], device),
              lengths: ints([lengths[r]!], [1], device),
            },
            latent,
            scale,
          );
          expect(one.read()).toEqual(part(whole, r, 1).read());
          const k: Values = {
            shape: [80, 1, depth],
            data: Float64Array.from(
              { length: 80 * depth },
              (_, i) =>
                rows[
                  (shared[r]![Math.floor(i / depth / page)]! * page + (Math.floor(i / depth) % page)) * depth +
                    (i % depth)
                ]!,
            ),
          };
          const v: Values = {
            shape: [80, 1, latent],
            data: Float64Array.from(
              { length: 80 * latent },
              (_, i) => k.data[Math.floor(i / latent) * depth + (i % latent)]!,
            ),
          };
          const expected = attend({ q: valuesOf(part(q, r, 1)), k, v, ranges: [0, lengths[r]!], scale });
          expect(relativeError(one.read(), expected.data)).toBeLessThan(2e-5);
        }
      });
    });

    it('lets NaN through instead of hiding it', () => {
      scope(() => {
        const q = draw([2, 1, 4], 1, device);
        const k = draw([2, 1, 4], 2, device);
        q.write(Float32Array.of(1, 2, 3, 4, Number.NaN, 1, 1, 1));
        const { o } = forward({ q, k, v: k, ranges: [0, 2, 0, 2] }, device);
        expect([...o.read()].map(Number.isNaN)).toEqual([false, false, false, false, true, true, true, true]);
      });
    });

    it('writes every gradient, also of rows and keys that nobody sees', () => {
      scope(() => {
        const problem = {
          q: draw([3, 2, 4], 1, device),
          k: draw([70, 2, 4], 2, device),
          v: draw([70, 2, 4], 3, device),
          ranges: [0, 0, 66, 68, 0, 0],
        };
        const { o, lse } = forward(problem, device);
        const { q, k, v } = problem;
        expect([...part(lse, 0, 1).read()]).toEqual([-Infinity, -Infinity]);
        const poisoned = (x: Tensor) => from(new Float32Array(x.size).fill(Number.NaN), x.shape, { device });
        const grads = [poisoned(q), poisoned(k), poisoned(v)] as const;
        const [dq, dk, dv] = grads.map((g) => ({ id: g.id, beta: 0 as const }));
        const absent = { id: 0, beta: 0 } as const;
        native.attentionBackward(
          dq!,
          dk!,
          dv!,
          absent,
          draw([3, 2, 4], 4, device),
          q,
          k,
          v,
          undefined,
          o,
          lse,
          ints(problem.ranges, [3, 2], device),
          scale,
        );
        for (const g of grads) expect(g.read().every(Number.isFinite)).toBe(true);
        expect(
          part(grads[0], 0, 1)
            .read()
            .every((x) => x === 0),
        ).toBe(true);
        expect(
          part(grads[1], 0, 66)
            .read()
            .every((x) => x === 0),
        ).toBe(true);
        expect(
          part(grads[2], 66, 2)
            .read()
            .some((x) => x !== 0),
        ).toBe(true);
        expect(
          part(grads[2], 68, 2)
            .read()
            .every((x) => x === 0),
        ).toBe(true);
      });
    });

    it('refuses pages, lengths and slots beyond the cache, and skips negative slots', () => {
      scope(() => {
        const cache = draw([2, 4, 3], 1, device);
        const q = draw([1, 1, 3], 2, device);
        const decode = (page: number, length: number) => () =>
          mlaDecode(
            q,
            cache,
            {
              pages: ints([page], [1, 1], device),
              sequence: ints([0], [1], device),
              lengths: ints([length], [1], device),
            },
            2,
            scale,
          );
        expect(decode(2, 1)).toThrow(/lies outside the cache/);
        expect(decode(0, 5)).toThrow(/lies outside the cache/);
        expect(decode(1, 4)).not.toThrow();
        const rows = window(cache, 0, [8, 3], [3, 1]);
        const before = rows.read();
        native.cacheWrite(rows, draw([2, 3], 3, device), ints([-1, 5], [2], device));
        const after = rows.read();
        expect(after.subarray(0, 15)).toEqual(before.subarray(0, 15));
        expect(after.subarray(15, 18)).toEqual(draw([2, 3], 3, device).read().subarray(3));
        expect(() => native.cacheWrite(rows, draw([1, 3], 3, device), ints([8], [1], device))).toThrow(
          /slot lies beyond/,
        );
      });
    });
  });
