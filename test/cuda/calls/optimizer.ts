import * as native from '../../../src/native.gen.js';
import type { DType, Tensor } from '../../../src/tensor/index.js';
import { window } from '../../../src/tensor/tensor.js';
import { added, type Bench, type Call, fresh } from './bench.js';

/* The optimizer: AdamW in all its types, clipping, averages. */

/** What the optimizer reads of step t. */
function ratesOf(b: Bench, lr: number, t: number): Tensor {
  return b.out([4], 'f64').write(Float64Array.of(lr, 1 - 0.9 ** t, 1 - 0.95 ** t, t));
}

/** Losses of micro-batches, the last one given. */
const lossesOf = (b: Bench, last: number): Tensor => b.out([3], 'f64').write(Float64Array.of(2, 3, last));

export const optimizerCalls: readonly Call[] = [
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
];
