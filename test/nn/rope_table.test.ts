import { describe, expect, it } from 'vitest';
import { attentionFactor, correctionRange, type Rope, ropeFrequencies, ropeTable } from '../../src/nn/rope_table.js';

/** DeepSeek-V3's: 64 rotary channels, 4,096 tokens stretched 40 times. */
const yarn = { factor: 40, original: 4096, betaFast: 32, betaSlow: 1, mscale: 1, mscaleAllDim: 1 };
const v3: Rope = { theta: 10000, yarn };

describe('rope table', () => {
  it('blends between the pairs 10 and 23 for DeepSeek-V3', () => {
    expect(correctionRange(10000, yarn, 64)).toEqual([10, 23]);
    const plain = ropeFrequencies({ theta: 10000, yarn: null }, 64);
    const stretched = ropeFrequencies(v3, 64);
    plain.forEach((f, i) => {
      const ramp = Math.min(Math.max((i - 10) / 13, 0), 1);
      expect(f).toBeCloseTo(10000 ** (-i / 32), 14);
      expect(stretched[i]! / f).toBeCloseTo(1 - ramp + ramp / 40, 12);
    });
  });

  it('knows the softmax factors of V3 and V2', () => {
    expect(attentionFactor(v3)).toBeCloseTo(1.36889, 5);
    expect(attentionFactor(v3) ** 2).toBeCloseTo(1.87385, 5);
    // biome-ignore lint/suspicious/noApproximativeNumericConstant: 0.707 is the published value, not the root of a half
    const v2 = { theta: 10000, yarn: { ...yarn, mscale: 0.707, mscaleAllDim: 0.707 } };
    expect(attentionFactor(v2)).toBeCloseTo(1.2608, 5);
    expect(attentionFactor(v2) ** 2).toBeCloseTo(1.58963, 4);
    expect(attentionFactor({ theta: 10000, yarn: null })).toBe(1);
    expect(attentionFactor({ theta: 10000, yarn: { ...yarn, mscaleAllDim: 0 } })).toBe(1);
    expect(attentionFactor({ theta: 10000, yarn: { ...yarn, factor: 1 } })).toBe(1);
  });

  it('holds cosines, then sines, scaled by the ratio of the two temperatures', () => {
    const plain = ropeTable({ theta: 100, yarn: null }, 4, 3);
    expect([...plain.subarray(0, 4)]).toEqual([1, 1, 0, 0]);
    expect(plain[8]).toBeCloseTo(Math.cos(2), 6);
    expect(plain[9]).toBeCloseTo(Math.cos(0.2), 6);
    expect(plain[10]).toBeCloseTo(Math.sin(2), 6);
    expect(plain[11]).toBeCloseTo(Math.sin(0.2), 6);
    expect(ropeTable(v3, 64, 1)[0]).toBe(1); // equal temperatures cancel
    const ratio: Rope = { theta: 10000, yarn: { ...yarn, mscale: 1, mscaleAllDim: 0.5 } };
    expect(ropeTable(ratio, 64, 1)[0]).toBeCloseTo((0.1 * Math.log(40) + 1) / (0.05 * Math.log(40) + 1), 6);
  });

  it('stretches even the shortest ramp without dividing by zero', () => {
    const narrow = ropeFrequencies({ theta: 10000, yarn: { ...yarn, betaFast: 1, betaSlow: 1 } }, 4);
    for (const f of narrow) expect(Number.isFinite(f)).toBe(true);
  });
});
