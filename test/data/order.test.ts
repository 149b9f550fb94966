import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { keyedHash, permutation, streamKey } from '../../src/data/order.js';

const sizes = fc.oneof(
  fc.integer({ min: 1, max: 40 }),
  fc.integer({ min: 1, max: 5000 }),
  fc.constantFrom(1024, 1025, 4096),
);

describe('permutation', () => {
  test('takes every place once, for every n up to 130 and many beyond', () => {
    const check = (n: number, seed: number, epoch: number) => {
      const place = permutation(n, seed, epoch);
      const seen = new Set<number>();
      for (let i = 0; i < n; i++) {
        const p = place(i);
        expect(Number.isInteger(p) && p >= 0 && p < n).toBe(true);
        seen.add(p);
      }
      expect(seen.size).toBe(n);
    };
    for (let n = 1; n <= 130; n++) check(n, 42, n);
    fc.assert(fc.property(sizes, fc.maxSafeInteger(), fc.nat(), check), { numRuns: 60 });
  });

  test('stays in range and does not collide where n is near the largest integer', () => {
    const n = Number.MAX_SAFE_INTEGER;
    const place = permutation(n, 1, 2);
    const places = Array.from({ length: 2000 }, (_, i) => place(i < 1000 ? i : n - 1 - i));
    expect(places.every((p) => Number.isSafeInteger(p) && p >= 0 && p < n)).toBe(true);
    expect(new Set(places).size).toBe(places.length);
    expect(Math.max(...places)).toBeGreaterThan(n * 0.99);
  });

  test('differs by seed, by epoch, by high bits of the seed and by sign', () => {
    const first = (seed: number, epoch: number) =>
      Array.from({ length: 50 }, (_, i) => permutation(1e6, seed, epoch)(i));
    const orders = [first(0, 0), first(1, 0), first(0, 1), first(2 ** 32, 0), first(-1, 0)].map(String);
    expect(new Set(orders).size).toBe(orders.length);
    expect(first(7, 3)).toEqual(first(7, 3));
  });

  test('neighbours land apart: places, and their steps, are near uniform', () => {
    const n = 100_000;
    const place = permutation(n, 3, 0);
    const buckets = new Array<number>(20).fill(0);
    const steps = new Array<number>(20).fill(0);
    for (let i = 0; i < 20_000; i++) {
      buckets[Math.floor((place(i) / n) * 20)]!++;
      steps[Math.floor((((place(i + 1) - place(i) + n) % n) / n) * 20)]!++;
    }
    // Chi-squared with 19 degrees of freedom exceeds 60 by chance less than once in 10^5.
    const chi = (counts: number[]) => counts.reduce((sum, c) => sum + (c - 1000) ** 2 / 1000, 0);
    expect(chi(buckets)).toBeLessThan(60);
    expect(chi(steps)).toBeLessThan(60);
  });
});

test('keyedHash is uniform and depends on high words', () => {
  const key = streamKey(5, 6, 7);
  let below = 0;
  for (let i = 0; i < 100_000; i++) if (keyedHash(key, i) < 0.1 * 2 ** 32) below++;
  // Five standard deviations of a binomial.
  expect(Math.abs(below - 10_000)).toBeLessThan(5 * Math.sqrt(9000));
  expect(keyedHash(key, 1)).not.toBe(keyedHash(key, 1 + 2 ** 32));
  expect(streamKey(5, 6, 7)).not.toBe(streamKey(6, 5, 7));
});
