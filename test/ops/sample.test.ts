import { describe, expect, it } from 'vitest';
import * as native from '../../src/native.gen.js';
import { sample } from '../../src/ops/sample.js';
import { type DType, empty, from, scope } from '../../src/tensor/index.js';
import { devices, randomValues } from './harness.js';

interface RowSettings {
  readonly temperature?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly penalty?: number;
  readonly topK?: number;
  readonly seed?: number;
  readonly position?: number;
}

/** One token per row of settings, all from the same logits. */
function draw(
  logits: Float64Array,
  rows: readonly RowSettings[],
  history?: readonly number[],
): { ids: number[]; logprobs: number[] } {
  return scope(() => {
    const all = new Float32Array(rows.length * logits.length);
    rows.forEach((_, r) => {
      all.set(Float32Array.from(logits), r * logits.length);
    });
    const out = sample(from(all, [rows.length, logits.length]), {
      settings: Float32Array.from(rows.flatMap((r) => [r.temperature ?? 1, r.topP ?? 1, r.minP ?? 0, r.penalty ?? 1])),
      topK: Int32Array.from(rows, (r) => r.topK ?? 0),
      seeds: Int32Array.from(rows.flatMap((r, i) => [r.seed ?? i, r.position ?? 0])),
      history: history && { ids: Int32Array.from(rows.flatMap(() => [...history])), width: history.length },
    });
    return { ids: [...out.ids.readInts()], logprobs: [...out.logprobs.read()] };
  });
}

const softmax = (x: ArrayLike<number>): number[] => {
  const list = Array.from(x);
  const largest = Math.max(...list);
  const e = list.map((v) => Math.exp(v - largest));
  const total = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / total);
};

/** How often each id came, over many seeds. */
function frequencies(logits: Float64Array, settings: RowSettings, history?: readonly number[]): number[] {
  const n = 20_000;
  const { ids } = draw(
    logits,
    Array.from({ length: n }, (_, seed) => ({ ...settings, seed })),
    history,
  );
  const counts = new Array<number>(logits.length).fill(0);
  for (const id of ids) counts[id]! += 1 / n;
  return counts;
}

/** Within four standard deviations of a frequency over 20,000 draws. */
const expectClose = (actual: readonly number[], expected: readonly number[]) => {
  actual.forEach((p, id) => {
    expect(Math.abs(p - expected[id]!), `id ${id}`).toBeLessThan(
      4 * Math.sqrt((expected[id]! * (1 - expected[id]!)) / 20_000) + 1e-9,
    );
  });
};

const normalised = (p: readonly number[]) => {
  const total = p.reduce((a, b) => a + b, 0);
  return p.map((v) => v / total);
};

const logits = Float64Array.of(2, 1, 0.5, 0, -1, -3, 1);

describe('sampling', () => {
  it('follows the softmax at a temperature', () => {
    expectClose(frequencies(logits, { temperature: 0.7 }), softmax(logits.map((v) => v / 0.7)));
  });

  it('keeps the k likeliest, the first of equal ones', () => {
    const p = softmax(logits);
    expectClose(frequencies(logits, { topK: 2 }), normalised(p.map((v, i) => (i === 0 || i === 1 ? v : 0))));
  });

  it('keeps the smallest set that reaches p, and what is near the likeliest', () => {
    const p = softmax(logits);
    expectClose(frequencies(logits, { topP: p[0]! + 0.01 }), normalised(p.map((v, i) => (i <= 1 ? v : 0))));
    expectClose(frequencies(logits, { minP: 0.3 }), normalised(p.map((v) => (v / p[0]! >= 0.3 ? v : 0))));
  });

  it('divides positive and multiplies negative logits of what was seen, once each', () => {
    const punished = logits.map((v, i) => ([0, 4].includes(i) ? (v > 0 ? v / 1.5 : v * 1.5) : v));
    expectClose(frequencies(logits, { penalty: 1.5 }, [0, 4, 0, -1]), softmax(punished));
  });

  it('takes the largest, the first of equal ones, at temperature 0', () => {
    expect(draw(Float64Array.of(1, 3, 3, 2), [{ temperature: 0 }]).ids).toEqual([1]);
  });

  it('returns the log-probability before truncation and penalty', () => {
    const { ids, logprobs } = draw(logits, [{ temperature: 0.5, topK: 1, penalty: 3 }, { temperature: 0 }], [0]);
    expect(logprobs[0]).toBeCloseTo(Math.log(softmax(logits.map((v) => v / 0.5))[ids[0]!]!), 5);
    expect(logprobs[1]).toBeCloseTo(Math.log(softmax(logits)[0]!), 5);
  });

  it('depends on seed and position alone, over a large vocabulary too', () => {
    const many = randomValues([50_000], 1, 3);
    const once = draw(many, [{ seed: 7, position: 3, topP: 0.9, topK: 1000 }]);
    const crowd = draw(many, [
      { seed: 1 },
      { seed: 7, position: 3, topP: 0.9, topK: 1000 },
      { seed: 7, position: 4, topP: 0.9, topK: 1000 },
    ]);
    expect(crowd.ids[1]).toBe(once.ids[0]);
    expect(crowd.ids[2]).not.toBe(once.ids[0]);
    const sorted = [...many].sort((a, b) => b - a);
    expect(many[once.ids[0]!]!).toBeGreaterThanOrEqual(sorted[999]!);
  });
});

describe('random_normal', () => {
  const numbers = (device: ReturnType<typeof devices>[number], dtype: DType, seed: number) =>
    scope(() => {
      const y = empty([40_001], { dtype, device });
      native.randomNormal(y, 2, 0.5, seed);
      return y.read();
    });

  it('has the mean, deviation and tails of a normal distribution', () => {
    const x = numbers(devices()[0]!, 'f32', 1);
    const mean = x.reduce((a, b) => a + b, 0) / x.length;
    const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
    expect(Math.abs(mean - 2)).toBeLessThan(0.01);
    expect(Math.abs(variance - 0.25)).toBeLessThan(0.01);
    const beyond = x.filter((v) => Math.abs(v - 2) > 1).length / x.length;
    expect(Math.abs(beyond - 0.0455)).toBeLessThan(0.005);
  });

  it('is the same for a seed and another for another', () => {
    const cpu = devices().at(-1)!;
    expect(numbers(cpu, 'f32', 1)).toEqual(numbers(cpu, 'f32', 1));
    expect(numbers(cpu, 'f32', 1)).not.toEqual(numbers(cpu, 'f32', 2));
  });
});
