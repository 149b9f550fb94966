import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import * as native from '../../src/native.gen.js';
import { addon, packageRoot } from '../../src/native.js';
import { type Device, device, empty, from, scope, zeros } from '../../src/tensor/index.js';
import { relativeError } from '../ops/harness.js';
import { benchOf, type Call, calls, valuesOf } from './calls.js';

/*
 * The CUDA kernels on the emulator against the CPU's, at shapes that the kernels' tiles make interesting.
 */

const built = existsSync(join(packageRoot, 'build', 'Release', 'train_moe_emulator.so'));

const results = (call: Call, dtype: 'f32' | 'bf16', on: Device) =>
  scope(() => call.run(benchOf(on, dtype)).map((t) => Array.from(valuesOf(t))));

afterEach(() => {
  delete process.env.TRAIN_MOE_EMULATOR_SEED;
  if (built) addon.trimMemory(device('emulator').index);
});

describe.skipIf(!built)('a policy loss on the emulator', () => {
  it.each([
    ['rows that do not rise', [0, 2, 2], [0, 1, 3]],
    ['a row beyond the last', [0, 2, 4], [0, 1, 3]],
    ['samples that overlap', [0, 1, 2], [0, 2, 1]],
    ['samples without the last token', [0, 1, 2], [0, 1, 2]],
  ])('says that it was given %s', (_, rows, starts) => {
    scope(() => {
      const on = { device: device('emulator') };
      const ints = (values: readonly number[]) => from(Int32Array.from(values), undefined, on);
      const [loss, stats] = [empty([1], { dtype: 'f64', ...on }), empty([8], { dtype: 'f64', ...on })];
      const advantages = from(Float64Array.of(1, -1), undefined, on);
      const given = [zeros([4], on), ints(rows), advantages, ints(starts), undefined, undefined, undefined] as const;
      const call = () => {
        native.policyLoss(loss, stats, { id: 0, beta: 0 }, ...given, 0.2, 0.2, 3, false, 0, 1, 0, 2, 2, true);
        loss.item();
      };
      expect(call).toThrow(/the rows of a loss's tokens, or the bounds of its samples, do not rise/);
    });
  });
});

describe.skipIf(!built)(`CUDA kernels on the emulator${built ? '' : ' (not built)'}`, () => {
  for (const call of calls)
    for (const dtype of call.dtypes ?? (['f32', 'bf16'] as const))
      it(`agree with the CPU: ${call.name} (${dtype})`, () => {
        process.env.TRAIN_MOE_EMULATOR_SEED = dtype === 'f32' ? '5' : '6';
        const expected = results(call, dtype, device('cpu'));
        const mine = results(call, dtype, device('emulator'));
        const tolerance = dtype === 'f32' ? 3e-5 : (call.tolerance ?? 1e-2);
        mine.forEach((y, i) => {
          expect(relativeError(y, expected[i]!), `result ${i}`).toBeLessThan(tolerance);
        });
      });
});
