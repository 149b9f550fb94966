import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import * as native from '../../src/native.gen.js';
import { packageRoot } from '../../src/native.js';
import { device, empty, from, scope } from '../../src/tensor/index.js';

/*
 * TRAIN_MOE_GEMM: who computes the dense products of bf16.
 */

const built = existsSync(join(packageRoot, 'build', 'Release', 'train_moe_emulator.so'));

/** [3,k] times [2,k] transposed, all ones. */
function product(kernel: string | undefined, k: number, dtype: 'f32' | 'bf16' = 'bf16'): number[] {
  const on = { dtype, device: device('emulator') } as const;
  if (kernel === undefined) delete process.env.TRAIN_MOE_GEMM;
  else process.env.TRAIN_MOE_GEMM = kernel;
  return scope(() => {
    const ones = (rows: number) => from(new Float32Array(rows * k).fill(1), [rows, k], on);
    const y = empty([3, 2], { device: on.device });
    native.linearForward(y, ones(3), ones(2), undefined);
    return [...y.read()];
  });
}

describe.skipIf(!built)(`the choice of a dense product${built ? '' : ' (the emulator is not built)'}`, () => {
  afterEach(() => {
    delete process.env.TRAIN_MOE_GEMM;
    delete process.env.TRAIN_MOE_TILE;
  });

  it('is own unless something else is asked for, and portable where that cannot', () => {
    for (const kernel of [undefined, '', 'own', 'portable', 'hopper'])
      expect(product(kernel, 64)).toEqual(new Array(6).fill(64));
    expect(product('hopper', 33)).toEqual(new Array(6).fill(33)); // rows are no multiple of 16 bytes
    expect(product('cublaslt', 8, 'f32')).toEqual(new Array(6).fill(8));
  });

  it('refuses what it does not know, and a library that is not there', () => {
    expect(() => product('fast', 64)).toThrow(/TRAIN_MOE_GEMM is fast; own, portable, hopper or cublaslt is expected/);
    process.env.TRAIN_MOE_TILE = '100';
    expect(() => product('hopper', 64)).toThrow(/TRAIN_MOE_TILE is 100; 64, 128, 192 or 256 is expected/);
    expect(() => product('cublaslt', 64)).toThrow(/the emulator has no such library; use own or hopper/);
  });
});
