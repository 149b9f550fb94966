import { afterEach, describe, expect, it } from 'vitest';
import * as native from '../../src/native.gen.js';
import { type Device, device, scope } from '../../src/tensor/index.js';
import { benchOf, by, type Call, calls, valuesOf } from '../cuda/calls.js';
import { relativeError } from '../ops/harness.js';
import { on, part, rehearsal, trim } from './device.js';

/* Native calls at shapes that the kernels' tiles make interesting, against the CPU's kernels. */

const results = (call: Call, dtype: 'f32' | 'bf16', at: Device) =>
  scope(() => call.run(benchOf(at, dtype)).map((t) => Array.from(valuesOf(t))));

afterEach(trim);

describe('calls agree with the CPU', () => {
  for (const call of part(calls, 12))
    for (const dtype of call.dtypes ?? (['f32', 'bf16'] as const))
      it(`${call.name} (${dtype})`, () => {
        const expected = results(call, dtype, device('cpu'));
        const tolerance = dtype === 'f32' ? 3e-5 : (call.tolerance ?? 1e-2);
        results(call, dtype, on).forEach((y, i) => {
          expect(relativeError(y, expected[i]!), `result ${i}`).toBeLessThan(tolerance);
        });
      });
});

/*
 * So a row has the same bits alone as in a batch, whichever kernel the size of the batch calls for. It is the tensor cores' way to
 * add that makes it so, which the emulator does not imitate.
 */
describe.skipIf(rehearsal)("products have the same bits from the portable kernel and from Hopper's", () => {
  const shapes = [
    [256, 256, 64],
    [256, 256, 512],
    [1000, 328, 2048],
    [4096, 2048, 2056],
    [8192, 328, 1000],
  ];
  it.each(shapes)('[%d,%d] and depth %d, forward and backward', (rows, cols, depth) => {
    const products = (kernel: string) =>
      scope(() => {
        const b = benchOf(on, 'bf16');
        const [x, weight, dy] = [b.draw([rows!, depth!], 1), b.draw([cols!, depth!], 2), b.draw([rows!, cols!], 3)];
        const [y, dx, dw] = [
          [rows!, cols!],
          [rows!, depth!],
          [cols!, depth!],
        ].map((shape) => b.out(shape, 'f32'));
        by(kernel, () => {
          native.linearForward(y!, x, weight, undefined);
          native.linearBackward({ id: dx!.id, beta: 0 }, { id: dw!.id, beta: 0 }, { id: 0, beta: 0 }, dy, x, weight);
        });
        return [y!, dx!, dw!].map((t) => Buffer.from(new Uint8Array(t.read().slice().buffer)));
      });
    const [portable, hopper] = [products('portable'), products('hopper')];
    for (const [i, bytes] of portable.entries()) expect(bytes.equals(hopper[i]!), `result ${i}`).toBe(true);
  });
});
