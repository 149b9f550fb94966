import { describe, expect, it } from 'vitest';
import { biasSpeedAt, mtpWeightAt, rampedRows, type Schedule, scheduleFactor } from '../../src/optim/schedule.js';

const factors = (schedule: Schedule, steps: number, at: readonly number[]) =>
  at.map((step) => Number(scheduleFactor(schedule, step, steps).toFixed(6)));

describe('schedules', () => {
  it('warm up linearly from one part of the peak to all of it', () => {
    for (const kind of ['constant', 'v3'] as const)
      expect(factors({ kind, warmup: 4 }, 1000, [0, 1, 2, 3, 4])).toEqual([0.25, 0.5, 0.75, 1, 1]);
  });

  it('cosine: half way between peak and floor in the middle, floor at the end and after it', () => {
    expect(factors({ kind: 'cosine', warmup: 10, floor: 0.1 }, 110, [10, 60, 110, 500])).toEqual([1, 0.55, 0.1, 0.1]);
  });

  it('linear', () => {
    expect(factors({ kind: 'linear', warmup: 0, floor: 0.2 }, 100, [0, 25, 50, 100])).toEqual([1, 0.8, 0.6, 0.2]);
  });

  it('V2: 0.316 at 60 %, its square at 90 %', () => {
    const v2: Schedule = { kind: 'v2', warmup: 0, drops: [0.6, 0.9], dropFactor: 0.316 };
    expect(factors(v2, 1000, [599, 600, 899, 900, 999])).toEqual([1, 0.316, 0.316, 0.099856, 0.099856]);
  });

  it('V3: constant to 10T of 14.8T tokens, cosine to a tenth over 4.3T, a tenth for 333B, then 7.3/220', () => {
    const at = (trillions: number) => (trillions / 14.8) * 14_800_000;
    const result = factors({ kind: 'v3', warmup: 0 }, 14_800_000, [
      at(5),
      at(9.999),
      at(12.15),
      at(14.3),
      at(14.6),
      at(14.64),
      at(14.8),
    ]);
    expect(result).toEqual([1, 1, 0.55, 0.1, 0.1, 0.033182, 0.033182]);
  });

  it('never leave [0, 1], whatever the step', () => {
    const kinds: Schedule[] = [
      { kind: 'constant', warmup: 7 },
      { kind: 'cosine', warmup: 7, floor: 0 },
      { kind: 'linear', warmup: 200, floor: 0 },
      { kind: 'v2', warmup: 0, drops: [0.5], dropFactor: 0.1 },
      { kind: 'v3', warmup: 3 },
    ];
    for (const schedule of kinds)
      for (let step = 0; step < 250; step++) {
        const f = scheduleFactor(schedule, step, 100);
        expect(f).toBeGreaterThanOrEqual(0);
        expect(f).toBeLessThanOrEqual(1);
      }
  });

  it('batch ramp: from the first size to the last, never down, never beyond', () => {
    const rows = Array.from({ length: 12 }, (_, step) => rampedRows(step, 16, { from: 4, steps: 10 }));
    expect(rows).toEqual([4, 5, 6, 8, 9, 10, 11, 12, 14, 15, 16, 16]);
    expect(rampedRows(3, 16, undefined)).toBe(16);
  });

  it("V3's own: the MTP weight falls to a third after 10T tokens, router biases rest for the last 500B", () => {
    expect([0, 9, 11].map((t) => Number(mtpWeightAt(0.3, t * 100, 1480).toFixed(6)))).toEqual([0.3, 0.3, 0.1]);
    expect([0, 14.2, 14.4].map((t) => biasSpeedAt(0.001, t * 100, 1480))).toEqual([0.001, 0.001, 0]);
  });
});
