import { describe, expect, it } from 'vitest';
import { openSafetensors } from '../../src/hub/safetensors.js';
import { groupAdvantages, isFlat, moments, overlongPenalty, passAtK } from '../../src/rl/advantage.js';
import { sharedPath } from '../shared.js';

const path = sharedPath('golden/grpo.safetensors');

describe('group advantages', () => {
  it('divides by the deviation with n - 1', () => {
    const std = Math.sqrt(1 / 3); // of 1, 1, 0, 0: mean 1/2, squares 4/4, over 3
    const a = groupAdvantages([1, 1, 0, 0], 'std');
    expect(a[0]).toBeCloseTo(0.5 / (std + 1e-6), 12);
    expect(a.reduce((x, y) => x + y, 0)).toBeCloseTo(0, 12);
  });

  it('leaves the deviation out where asked', () => {
    expect(groupAdvantages([1, 1, 0, 0], 'mean')).toEqual([0.5, 0.5, -0.5, -0.5]);
  });

  it('is 0 for equal rewards, also where the mean is not exact', () => {
    expect(groupAdvantages([1, 1, 1], 'std')).toEqual([0, 0, 0]);
    for (const a of groupAdvantages([0.1, 0.1, 0.1], 'std')) expect(Math.abs(a)).toBeLessThan(1e-9);
  });

  it('leaves completions without a reward out of mean and deviation', () => {
    expect(groupAdvantages([1, undefined, 0], 'mean')).toEqual([0.5, 0, -0.5]);
    expect(groupAdvantages([undefined, 1, undefined], 'std')).toEqual([0, 0, 0]);
  });

  it.skipIf(!path)('equals the golden advantages (needs ../shared/golden/grpo.safetensors)', () => {
    const file = openSafetensors(path!);
    const doubles = (name: string) => [...new Float64Array(file.tensors.get(name)!.read().slice().buffer)];
    const rewards = doubles('rewards');
    const of = (kind: 'std' | 'mean') =>
      [rewards.slice(0, 4), rewards.slice(4)].flatMap((group) => groupAdvantages(group, kind));
    of('std').forEach((a, i) => void expect(a).toBeCloseTo(doubles('advantages')[i]!, 12));
    of('mean').forEach((a, i) => void expect(a).toBeCloseTo(doubles('advantages_dr_grpo')[i]!, 12));
  });
});

describe('what groups are worth', () => {
  it('sees groups that have nothing to teach', () => {
    expect([[1, 1], [1, undefined], [], [undefined, undefined], [0, 1]].map((g) => isFlat(g))).toEqual([
      true,
      true,
      true,
      true,
      false,
    ]);
  });

  it('knows mean and deviation of none, one and more', () => {
    expect(moments([])).toEqual({ mean: 0, std: 0 });
    expect(moments([3])).toEqual({ mean: 3, std: 0 });
    expect(moments([1, 3])).toEqual({ mean: 2, std: Math.SQRT2 });
  });

  it('punishes length inside the buffer only', () => {
    expect([0, 80, 85, 90, 100].map((n) => overlongPenalty(n, 100, 20) + 0)).toEqual([0, 0, -0.25, -0.5, -1]);
  });

  it('estimates pass@k from counts', () => {
    expect(passAtK(4, 0, 2)).toBe(0);
    expect(passAtK(4, 1, 1)).toBeCloseTo(0.25, 12);
    expect(passAtK(4, 1, 2)).toBeCloseTo(0.5, 12); // of 6 pairs, 3 hold the right one
    expect(passAtK(4, 3, 2)).toBe(1);
  });
});
