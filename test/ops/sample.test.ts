import { describe, expect, it } from 'vitest';
import { addon } from '../../src/native.js';
import { sample } from '../../src/ops/sample.js';
import { type Device, from, scope } from '../../src/tensor/index.js';
import { devices, randomValues } from './harness.js';

interface Options {
  readonly temperature?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly penalty?: number;
  readonly topK?: number;
  readonly history?: readonly number[];
  readonly dtype?: 'f32' | 'bf16';
}

/** Draws `count` tokens from one row of logits, positions 0, 1, .. of seed 7. */
function draws(logits: Float64Array, count: number, o: Options, device: Device) {
  return scope(() => {
    const rows = Float32Array.from({ length: count * logits.length }, (_, i) => logits[i % logits.length]!);
    const { temperature = 1, topP = 1, minP = 0, penalty = 1, topK = 0, history, dtype = 'f32' } = o;
    const { ids, logprobs } = sample(from(rows, [count, logits.length], { device, dtype }), {
      settings: Float32Array.from({ length: 4 * count }, (_, i) => [temperature, topP, minP, penalty][i % 4]!),
      topK: new Int32Array(count).fill(topK),
      seeds: Int32Array.from({ length: 2 * count }, (_, i) => (i % 2 ? i >> 1 : 7)),
      ...(history && {
        history: {
          ids: Int32Array.from({ length: count * history.length }, (_, i) => history[i % history.length]!),
          width: history.length,
        },
      }),
    });
    return { ids: ids.readInts(), logprobs: logprobs.read() };
  });
}

const sum = (x: Iterable<number>) => [...x].reduce((a, b) => a + b, 0);

function softmax(z: readonly number[]): number[] {
  const top = z.reduce((a, b) => Math.max(a, b));
  const e = z.map((v) => Math.exp(v - top));
  const total = sum(e);
  return e.map((v) => v / total);
}

/** The distribution that is drawn from, by sorting: the definition. */
function distribution(logits: Float64Array, o: Options): number[] {
  const { temperature = 1, topP = 1, minP = 0, penalty = 1, topK = 0, history = [] } = o;
  const penalised = [...logits].map((z, i) => (history.includes(i) ? (z > 0 ? z / penalty : z * penalty) : z));
  let p = softmax(penalised.map((z) => z / temperature));
  const order = [...p.keys()].sort((a, b) => p[b]! - p[a]! || a - b);
  const keep = (ids: readonly number[]) => {
    const set = new Set(ids);
    p = p.map((v, i) => (set.has(i) ? v : 0));
    const total = sum(p);
    p = p.map((v) => v / total);
  };
  if (topK > 0) keep(order.slice(0, topK));
  if (topP < 1) {
    let mass = 0;
    const end = order.findIndex((i) => {
      mass += p[i]!;
      return mass >= topP;
    });
    keep(order.slice(0, end + 1));
  }
  const top = p[order[0]!]!;
  keep(order.filter((i) => p[i]! >= minP * top));
  return p;
}

const LOGITS = randomValues([57], 11, 2).map(Math.fround);
const TIES = Float64Array.from({ length: 40 }, (_, i) => Math.floor(i / 8) % 3);
const DRAWS = 4000;

const SETTINGS: Record<string, Options> = {
  plain: {},
  'temperature 0.5': { temperature: 0.5 },
  'top-k 5': { topK: 5 },
  'top-k beyond the vocabulary': { topK: 1000 },
  'top-p 0.8': { topP: 0.8 },
  'min-p 0.2': { minP: 0.2 },
  'repetition penalty, an id seen twice': { penalty: 1.7, history: [3, -1, 8, 3, 20] },
  'a penalty below 1 that makes another token the likeliest': { penalty: 0.3, history: [0, 1, 2], topP: 0.9 },
  'all at once': { temperature: 1.3, topK: 20, topP: 0.9, minP: 0.05, penalty: 1.2, history: [5, 6] },
};

describe('sample', () => {
  for (const device of devices()) {
    for (const [name, o] of Object.entries(SETTINGS))
      for (const [kind, logits] of Object.entries({ random: LOGITS, tied: TIES }))
        it(`draws from the truncated distribution (${name}, ${kind} logits, ${device.name})`, () => {
          const { ids } = draws(logits, DRAWS, o, device);
          const p = distribution(logits, o);
          const seen = new Float64Array(logits.length);
          for (const id of ids) seen[id]!++;
          let chi = 0;
          let cells = 0;
          p.forEach((q, i) => {
            if (q === 0) expect(seen[i], `token ${i} was cut off`).toBe(0);
            if (q * DRAWS < 5) return;
            cells++;
            chi += (seen[i]! - q * DRAWS) ** 2 / (q * DRAWS);
          });
          // Mean cells - 1, deviation sqrt(2 cells): five deviations. The seeds are fixed, so this cannot flicker.
          expect(chi).toBeLessThan(cells + 5 * Math.sqrt(2 * cells));
        });

    it(`greedy takes the largest, the smaller id of equal ones, and feels the penalty (${device.name})`, () => {
      const logits = Float64Array.of(1, 3, 2, 3, -1);
      expect([...draws(logits, 2, { temperature: 0 }, device).ids]).toEqual([1, 1]);
      expect([...draws(logits, 1, { temperature: 0, penalty: 2, history: [1] }, device).ids]).toEqual([3]);
      expect([...draws(logits, 1, { temperature: 0, penalty: 2, history: [1, 3] }, device).ids]).toEqual([2]);
      const negative = Float64Array.of(-1, -1.5, -9);
      expect([...draws(negative, 1, { temperature: 0, penalty: 2, history: [0] }, device).ids]).toEqual([1]);
    });

    it(`top-k 1 and a tiny top-p are greedy (${device.name})`, () => {
      const best = [...LOGITS].indexOf(Math.max(...LOGITS));
      for (const o of [{ topK: 1 }, { topP: 1e-6 }, { minP: 1 }, { temperature: 1e-40 }])
        expect(new Set(draws(LOGITS, 50, o, device).ids)).toEqual(new Set([best]));
    });

    it(`finds the border in a vocabulary of 130k as sorting does (${device.name})`, () => {
      const logits = randomValues([131_071], 5, 3).map(Math.fround);
      for (const o of [{ topK: 50 }, { topP: 0.5 }, { topK: 1000, topP: 0.9, temperature: 0.8 }]) {
        const p = distribution(logits, o);
        const { ids } = draws(logits, 24, o, device);
        for (const id of ids) expect(p[id]).toBeGreaterThan(0);
      }
    });

    for (const dtype of ['f32', 'bf16'] as const)
      it(`log-probability is the model's own: before penalty and truncation (${device.name}, ${dtype})`, () => {
        const logits = randomValues([200], 3, 2).map((v) => Math.round(v * 8) / 8); // exact in bf16
        for (const [o, temperature] of [
          [{ temperature: 0.7, topK: 3, penalty: 1.5, history: [1, 2, 3] }, 0.7],
          [{ temperature: 0 }, 1],
        ] as const) {
          const { ids, logprobs } = draws(logits, 6, { ...o, dtype }, device);
          const p = softmax([...logits].map((z) => z / temperature));
          ids.forEach((id, r) => {
            expect(Math.abs(logprobs[r]! - Math.log(p[id]!))).toBeLessThan(2e-5);
          });
        }
      });

    it(`never draws what is impossible: -inf and NaN (${device.name})`, () => {
      const logits = Float64Array.from({ length: 33 }, (_, i) => (i % 3 === 0 ? -Infinity : i % 3 === 1 ? NaN : 0));
      for (const o of [{}, { topK: 20 }, { topP: 0.99 }, { temperature: 0 }])
        for (const id of draws(logits, 60, o, device).ids) expect(id % 3).toBe(2);
    });
  }

  it('depends on the seed and position of the row alone', () => {
    const device = devices().at(-1)!;
    const one = draws(LOGITS, 1, { topP: 0.9 }, device);
    const before = addon.hostInfo().threads;
    try {
      for (const threads of [1, 3]) {
        addon.setThreads(threads);
        const many = draws(LOGITS, 9, { topP: 0.9 }, device);
        expect(many.ids[0]).toBe(one.ids[0]);
        expect(many.logprobs[0]).toBe(one.logprobs[0]);
        expect(new Set(many.ids).size).toBeGreaterThan(1);
      }
    } finally {
      addon.setThreads(before);
    }
  });
});
