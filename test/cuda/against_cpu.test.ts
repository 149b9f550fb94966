import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { addon, packageRoot } from '../../src/native.js';
import { type Device, device, scope } from '../../src/tensor/index.js';
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
