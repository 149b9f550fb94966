import { afterEach, describe, expect, it } from 'vitest';
import { type Device, device, scope } from '../../src/tensor/index.js';
import { benchOf, type Call, calls, valuesOf } from '../cuda/calls.js';
import { relativeError } from '../ops/harness.js';
import { on, part, trim } from './device.js';

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
