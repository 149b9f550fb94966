import { describe, expect, it } from 'vitest';
import { attentionFlops, moeFlops, trainFlops } from '../../src/bench/counting.js';
import { drawRoutes } from '../../src/bench/inputs.js';
import { cutDocuments } from '../../src/bench/jobs/bpe.js';
import { models } from '../../src/bench/shapes.js';

describe('the counts of operations', () => {
  it('take half of the square in attention: S keys on average S/2, two products forward and five backward', () => {
    const s = { batch: 2, heads: 3, seq: 5, qk: 7, v: 11 };
    const half = 2 * 3 * (5 * 5) * 2 * 0.5; // multiply and add, over half of the pairs
    expect(attentionFlops(s, 'forward')).toBe(half * (7 + 11)); // scores, sums of values
    expect(attentionFlops(s, 'backward')).toBe(half * (7 + 11 + 11 + 7 + 7)); // scores, dv, dp, dq, dk
  });

  it('take three products a routed row forward, twice that backward', () => {
    const s = { name: '', tokens: 3, hidden: 5, inner: 7, experts: 4, top_k: 2, routing: 'uniform' } as const;
    const gateUp = 2 * 5 * (2 * 7);
    const down = 2 * 7 * 5;
    expect(moeFlops(s, 'forward')).toBe(3 * 2 * (gateUp + down));
    expect(moeFlops(s, 'backward')).toBe(2 * moeFlops(s, 'forward'));
  });

  it('take 6 a token for each weight on its path, and attention', () => {
    const m = {
      ...models['cpu-micro'],
      num_hidden_layers: 2, // one dense, one routed
    };
    // By hand, for cpu-micro: query 128x128, latents 128x48, keys and values 32x128, out 64x128.
    const attention = 128 * (4 * 32) + 128 * (32 + 16) + 32 * (4 * 32) + 4 * 16 * 128;
    const dense = 3 * 128 * 512;
    const routed = 3 * 128 * 128 * 5 + 128 * 16;
    const weights = 2 * attention + dense + routed + 128 * 2048;
    const square = 3 * 4 * 10 ** 2 * 2;
    expect(trainFlops(m, 3, 10)).toBe(6 * weights * 30 + square * (32 + 16 + 3 * 32 + 2 * 16));
  });
});

describe('the routes', () => {
  const shape = { tokens: 4000, experts: 8, top_k: 2 };
  const popularity = (routing: 'uniform' | 'zipf') => {
    const counts = new Array<number>(8).fill(0);
    for (const e of drawRoutes({ ...shape, routing }).experts) counts[e]!++;
    return counts.map((n) => n / 8000);
  };

  it('name different experts for a token, with weights that sum to 1', () => {
    const { experts, weights } = drawRoutes({ ...shape, routing: 'zipf' });
    const tokens = Array.from({ length: shape.tokens }, (_, t) => t);
    expect(tokens.filter((t) => experts[2 * t] === experts[2 * t + 1])).toEqual([]);
    expect(tokens.filter((t) => Math.abs(weights[2 * t]! + weights[2 * t + 1]! - 1) > 1e-6)).toEqual([]);
    expect(Math.max(...weights)).toBeLessThan(0.76); // shares from 0.5 to 1.5
    expect(Math.min(...weights)).toBeGreaterThan(0.24);
  });

  it.each([
    ['uniform', () => 1],
    ['zipf', (e: number) => 1 / Math.sqrt(e + 1)],
  ] as const)('follow the chances: %s', (routing, chance) => {
    const chances = Array.from({ length: 8 }, (_, e) => chance(e));
    const sum = chances.reduce((a, b) => a + b, 0);
    const p = chances.map((c) => c / sum);
    // Drawn first, or second after any other one.
    const included = p.map((pe, e) => pe + p.reduce((s, pf, f) => s + (f === e ? 0 : (pf * pe) / (1 - pf)), 0));
    const found = popularity(routing);
    for (const [e, q] of included.entries()) expect(Math.abs(found[e]! - q / 2)).toBeLessThan(0.015); // 4 deviations
  });

  it('are the same each time', () => {
    const [a, b] = [drawRoutes({ ...shape, routing: 'uniform' }), drawRoutes({ ...shape, routing: 'uniform' })];
    expect(a.experts.join()).toBe(b.experts.join());
    expect(a.weights.join()).toBe(b.weights.join());
  });
});

describe('the documents of a text', () => {
  it('are cut at line ends once they pass 8000 bytes, and lose nothing', () => {
    const line = `${'é'.repeat(999)}\n`; // 1999 bytes
    const documents = cutDocuments(`${line.repeat(12)}the end`);
    expect(documents.map((d) => Buffer.byteLength(d))).toEqual([9995, 9995, 2 * 1999 + 7]);
    expect(documents.join('')).toBe(`${line.repeat(12)}the end`);
    expect(cutDocuments('')).toEqual([]);
    expect(cutDocuments(line.repeat(5)).length).toBe(1);
  });
});
