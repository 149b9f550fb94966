import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { addon, packageRoot } from '../../src/native.js';
import { device } from '../../src/tensor/index.js';
import { bitsOf, checkForward, checkGradient, type OpCase } from '../ops/harness.js';

/*
 * Every op case on the CUDA kernels, run by the host emulator under several random schedules of their threads. A barrier, a wait
 * or a bound that is missing shows as a wrong number, as NaN, as a deadlock with the names of the threads, or as a fault.
 */

const library = join(packageRoot, 'build', 'Release', 'train_moe_emulator.so');
const built = existsSync(library);
const cases = join(packageRoot, 'test', 'ops');

/** Even seeds draw the next thread among all that can run, odd ones let one thread run as far as it can. */
const seedOf = { f32: 1, bf16: 2 } as const;

const under = (seed: number, body: () => void) => {
  process.env.TRAIN_MOE_EMULATOR_SEED = String(seed);
  body();
};

afterEach(() => {
  delete process.env.TRAIN_MOE_EMULATOR_SEED;
  if (built) addon.trimMemory(device('emulator').index); // memory that comes back is NaN again
});

describe.skipIf(!built)(`emulator${built ? '' : ' (not built: node native/build.mjs --emulator)'}`, async () => {
  for (const file of readdirSync(cases).filter((f) => f.endsWith('.case.ts'))) {
    const module = (await import(join(cases, file))) as { cases: readonly OpCase[] };
    for (const opCase of module.cases)
      describe(opCase.name, () => {
        for (const dtype of opCase.dtypes ?? (['f32', 'bf16'] as const)) {
          it(`equals its definition (${dtype})`, () =>
            under(seedOf[dtype], () => checkForward(opCase, dtype, device('emulator'))));
          if (Object.values(opCase.inputs).some((i) => !i.ints && i.grad !== false))
            it(`goes back as finite differences say (${dtype})`, () =>
              under(1, () => checkGradient(opCase, dtype, device('emulator'))));
        }
        it('gives the same bits under every schedule', () => {
          const dtype = opCase.dtypes?.[0] ?? 'bf16';
          const runs = [3, 4].map((seed) => {
            let bits: Uint8Array[] = [];
            under(seed, () => {
              bits = bitsOf(opCase, dtype, device('emulator'));
            });
            return bits;
          });
          expect(runs[1]).toEqual(runs[0]);
        });
      });
  }
});
