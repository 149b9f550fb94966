import { describe, expect, it } from 'vitest';
import * as native from '../../src/native.gen.js';
import { addon } from '../../src/native.js';
import { dropout } from '../../src/ops/dropout.js';
import {
  type Device,
  empty,
  from,
  parameter,
  scope,
  split,
  type Tensor,
  vectorJacobian,
} from '../../src/tensor/index.js';
import { devices, relativeError } from './harness.js';

/** Philox4x32-10 (Salmon et al., SC 2011), in plain integers. */
function philox(seed: number, counter: number): number[] {
  let x = [counter, 0, 0, 0];
  let key = [seed >>> 0, 0];
  for (let round = 0; round < 10; round++) {
    const p0 = BigInt(x[0]!) * 0xd2511f53n;
    const p1 = BigInt(x[2]!) * 0xcd9e8d57n;
    const high = (p: bigint) => Number(p >> 32n);
    const low = (p: bigint) => Number(p & 0xffffffffn);
    x = [(high(p1) ^ x[1]! ^ key[0]!) >>> 0, low(p1), (high(p0) ^ x[3]! ^ key[1]!) >>> 0, low(p0)];
    key = [(key[0]! + 0x9e3779b9) >>> 0, (key[1]! + 0xbb67ae85) >>> 0];
  }
  return x;
}

const uniform = (word: number) => ((word >>> 8) + 0.5) / 2 ** 24;

/** Box-Muller: words 0, 1 and 2, 3 of a counter make four numbers. */
function normals(n: number, seed: number): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => {
    const w = philox(seed, Math.floor(i / 4));
    const pair = i % 4 < 2 ? 0 : 2;
    const radius = Math.sqrt(-2 * Math.log(uniform(w[pair]!)));
    const angle = 2 * Math.PI * uniform(w[pair + 1]!);
    return radius * (i % 2 ? Math.sin(angle) : Math.cos(angle));
  });
}

const drawn = (n: number, seed: number, device: Device, dtype: 'f32' | 'bf16' = 'f32', mean = 0, deviation = 1) =>
  scope(() => {
    const y = empty([n], { dtype, device });
    native.randomNormal(y, mean, deviation, seed);
    return y.read();
  });

describe('the generator', () => {
  it('is Philox: the known answer for counter 0 and key 0', () => {
    expect(philox(0, 0)).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  });
});

describe('random_normal', () => {
  for (const device of devices()) {
    it(`equals Box-Muller on Philox (${device.name})`, () => {
      expect(relativeError(drawn(4099, 5, device), normals(4099, 5))).toBeLessThan(1e-5);
      const scaled = normals(50, 9).map((z) => 3 + 0.5 * z);
      expect(relativeError(drawn(50, 9, device, 'bf16', 3, 0.5), scaled)).toBeLessThan(4e-3);
    });

    it(`has mean 0, deviation 1, kurtosis 3 (${device.name})`, () => {
      const z = drawn(200_001, 1, device);
      const moment = (k: number) => z.reduce((s, v) => s + v ** k, 0) / z.length;
      expect(Math.abs(moment(1))).toBeLessThan(0.01);
      expect(Math.abs(moment(2) - 1)).toBeLessThan(0.015);
      expect(Math.abs(moment(4) - 3)).toBeLessThan(0.12);
    });
  }

  it('depends on the seed and index alone', () => {
    const device = devices().at(-1)!;
    const long = drawn(20_000, 3, device);
    expect(drawn(77, 3, device)).toEqual(long.subarray(0, 77));
    expect(drawn(77, 4, device)).not.toEqual(long.subarray(0, 77));
    const before = addon.hostInfo().threads;
    try {
      addon.setThreads(3);
      expect(drawn(20_000, 3, device)).toEqual(long);
    } finally {
      addon.setThreads(before);
    }
  });
});

const RATE = 0.3;

describe('dropout', () => {
  for (const device of devices())
    for (const dtype of ['f32', 'bf16'] as const)
      it(`keeps x / (1 - rate) where the element's number reaches the rate, forward and back (${device.name}, ${dtype})`, () => {
        const shape = [7, 61];
        const kept = (i: number) => uniform(philox(11, Math.floor(i / 4))[i % 4]!) >= RATE;
        const x = parameter(
          from(
            Float32Array.from({ length: 427 }, (_, i) => i + 1),
            shape,
            { dtype, device },
          ),
        );
        scope(() => {
          const y = dropout(x, RATE, 11).read();
          const expected = Float64Array.from(x.read(), (v, i) => (kept(i) ? v / (1 - RATE) : 0));
          expect(relativeError(y, expected)).toBeLessThan(dtype === 'f32' ? 1e-6 : 4e-3);
          y.forEach((v, i) => {
            expect(v === 0).toBe(!kept(i));
          });
        });
        if (dtype === 'f32')
          scope(() => {
            const dy = from(new Float32Array(427).fill(1), shape, { device });
            vectorJacobian(() => [dropout(x, RATE, 11)], [dy]);
            const g = x.gradient!.value(shape)!.read();
            expect(
              relativeError(
                g,
                Float64Array.from(g, (_, i) => (kept(i) ? 1 / (1 - RATE) : 0)),
              ),
            ).toBeLessThan(1e-6);
          });
        x.dispose();
      });

  it('counts elements by their place in the tensor, also in a window', () => {
    scope(() => {
      const ones = from(new Float32Array(6 * 50).fill(1), [6, 50]);
      const window = split(ones, [13, 37])[1] as Tensor;
      const dense = from(new Float32Array(6 * 37).fill(1), [6, 37]);
      expect(dropout(window, 0.5, 3).read()).toEqual(dropout(dense, 0.5, 3).read());
    });
  });

  it('is the tensor itself at rate 0, and refuses rates outside of [0, 1)', () => {
    scope(() => {
      const x = from([1, 2, 3], [1, 3]);
      expect(dropout(x, 0, 1)).toBe(x);
      for (const rate of [1, -0.1, NaN])
        expect(() => dropout(x, rate, 1)).toThrow(/dropout: the rate must be 0 or more and below 1/);
    });
  });
});
