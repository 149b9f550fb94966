import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import * as native from '../../src/native.gen.js';
import { packageRoot } from '../../src/native.js';
import { device, empty, from, scope } from '../../src/tensor/index.js';

/*
 * TRAIN_MOE_ATTENTION: whose kernels compute attention of bf16.
 */

const built = existsSync(join(packageRoot, 'build', 'Release', 'train_moe_emulator.so'));

/** Two rows of ones with one head see each other. */
function attention(kernels: string | undefined, channels: number, dtype: 'f32' | 'bf16' = 'bf16'): number[] {
  const on = { dtype, device: device('emulator') } as const;
  if (kernels === undefined) delete process.env.TRAIN_MOE_ATTENTION;
  else process.env.TRAIN_MOE_ATTENTION = kernels;
  return scope(() => {
    const ones = () => from(new Float32Array(2 * channels).fill(1), [2, 1, channels], on);
    const ranges = from(Int32Array.of(0, 2, 0, 2), [2, 2], { device: on.device });
    const [o, lse] = [empty([2, 1, channels], on), empty([2, 1], { device: on.device })];
    native.attentionForward(o, lse, ones(), ones(), ones(), undefined, ranges, 0.125);
    return [...o.read()];
  });
}

describe.skipIf(!built)(`the choice of attention's kernels${built ? '' : ' (the emulator is not built)'}`, () => {
  afterEach(() => {
    delete process.env.TRAIN_MOE_ATTENTION;
  });

  it("is the portable ones' where Hopper's do not fit", () => {
    for (const kernels of [undefined, '', 'portable', 'hopper'])
      for (const channels of [64, 24]) expect(attention(kernels, channels)).toEqual(new Array(2 * channels).fill(1));
    expect(attention('hopper', 64, 'f32')).toEqual(new Array(128).fill(1));
  });

  it('refuses what it does not know', () => {
    expect(() => attention('fast', 64)).toThrow(/TRAIN_MOE_ATTENTION is fast; hopper or portable is expected/);
  });
});
