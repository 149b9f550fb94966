import { describe, expect, it } from 'vitest';
import * as native from '../../src/native.gen.js';
import { empty, from, scope } from '../../src/tensor/index.js';
import { devices, randomValues } from '../ops/harness.js';

describe.each(devices())('on $name', (device) => {
  it('sum_squares and dot add in f64 to what is there', () =>
    scope(() => {
      const values = randomValues([70_001], 1);
      const x = from(Float32Array.from(values), [70_001], { device });
      const sum = from(Float64Array.of(10), [1], { device });
      native.sumSquares({ id: sum.id, beta: 1 }, [x]);
      const exact = Float32Array.from(values).reduce((s, v) => s + v * v, 10);
      expect(Math.abs(sum.item() / exact - 1)).toBeLessThan(1e-9);
      native.dot({ id: sum.id, beta: 0 }, x, x);
      expect(Math.abs(sum.item() / (exact - 10) - 1)).toBeLessThan(1e-9);
    }));

  it('sum_squares is as exact for bf16, whose squares f32 could not hold', () =>
    scope(() => {
      const values = Float32Array.from(randomValues([20_011], 1), (v, i) => v * (i % 2 ? 1e25 : 1e-3));
      const x = from(values, [20_011], { device, dtype: 'bf16' });
      const sum = from(Float64Array.of(0), [1], { device, dtype: 'f64' });
      native.sumSquares({ id: sum.id, beta: 0 }, [x]);
      const exact = x.read().reduce((s, v) => s + v * v, 0);
      expect(Math.abs(sum.readDoubles()[0]! / exact - 1)).toBeLessThan(1e-9);
    }));

  it('clip_scale gives the norm, and a factor that never enlarges', () =>
    scope(() => {
      const [scale, norm] = [empty([1], { device }), empty([1], { device })];
      const clip = (sum: number, max: number) => {
        native.clipScale(scale, norm, from(Float64Array.of(sum), [1], { device }), undefined, max);
        return [norm.item(), scale.item()];
      };
      expect(clip(16, 1)[0]).toBe(4);
      expect(clip(16, 1)[1]).toBeCloseTo(1 / (4 + 1e-6), 7);
      expect(clip(0.25, 1)).toEqual([0.5, 1]);
      expect(clip(16, 0)).toEqual([4, 1]);
    }));

  it('lerp moves a part of the way', () =>
    scope(() => {
      const y = from(Float32Array.of(0, 10, -4), [3], { device });
      native.lerp([y], [from(Float32Array.of(1, 20, -4), [3], { device })], 0.25);
      expect([...y.read()]).toEqual([0.25, 12.5, -4]);
    }));
});
