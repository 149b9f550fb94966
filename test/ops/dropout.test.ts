import { describe, expect, it } from 'vitest';
import { dropout } from '../../src/ops/dropout.js';
import { from, parameter, scope, vectorJacobian } from '../../src/tensor/index.js';

const ones = (n: number) => from(new Float32Array(n).fill(1), [n / 100, 100]);

describe('dropout', () => {
  it('keeps a share of 1 - rate, scaled so that the mean stays', () =>
    scope(() => {
      const y = dropout(ones(100_000), 0.3, 7).read();
      expect(new Set(y)).toEqual(new Set([0, Math.fround(1 / 0.7)]));
      expect(Math.abs(y.filter((v) => v === 0).length / y.length - 0.3)).toBeLessThan(0.01);
    }));

  it('drops the same places of the gradient, and others for another seed', () =>
    scope(() => {
      const x = parameter(ones(1000));
      const [y] = vectorJacobian(() => [dropout(x, 0.5, 3)] as const, [ones(1000)]);
      expect(x.gradient!.value(x.shape)!.read()).toEqual(y.read());
      expect(dropout(x, 0.5, 4).read()).not.toEqual(y.read());
      x.dispose();
    }));

  it('is the identity at rate 0', () =>
    scope(() => {
      const x = ones(100);
      expect(dropout(x, 0, 1)).toBe(x);
    }));
});
