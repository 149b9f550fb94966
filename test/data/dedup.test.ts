import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KeySet } from '../../src/data/dedup.js';
import { contentHash } from '../../src/data/hash.js';
import { checkFractions, splitAt, splitPosition } from '../../src/data/split.js';
import { document } from './helpers.js';

describe('KeySet', () => {
  test('is a set of the first 16 bytes, through growth and with the zero key', () => {
    const words = fc.array(fc.nat(3), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(words, { maxLength: 200 }), (keys) => {
        const set = new KeySet(2);
        const expected = new Set<string>();
        for (const key of keys) {
          const hash = Buffer.concat([Buffer.from(Uint32Array.from(key).buffer), randomBytes(16)]);
          expect(set.add(hash)).toBe(!expected.has(String(key)));
          expected.add(String(key));
          expect(set.size).toBe(expected.size);
        }
      }),
    );
  });

  test('holds many keys', () => {
    const set = new KeySet();
    const hash = (i: number) => createHash('sha256').update(String(i)).digest();
    for (let i = 0; i < 20_000; i++) expect(set.add(hash(i))).toBe(true);
    for (let i = 0; i < 20_000; i++) expect(set.add(hash(i))).toBe(false);
    expect(set.size).toBe(20_000);
  });
});

describe('split', () => {
  test('content decides, not the place; shares come out as asked', () => {
    const counts = { train: 0, validation: 0, test: 0 };
    const fractions = { validation: 0.1, test: 0.2 };
    for (let i = 0; i < 10_000; i++) {
      const split = splitAt(splitPosition(contentHash(document(`text ${i}`, i))), fractions);
      expect(splitAt(splitPosition(contentHash(document(`text ${i}`))), fractions)).toBe(split);
      counts[split]++;
    }
    expect(Math.abs(counts.validation - 1000)).toBeLessThan(150);
    expect(Math.abs(counts.test - 2000)).toBeLessThan(200);
  });

  test('a larger validation share keeps what it had', () => {
    fc.assert(
      fc.property(fc.string(), fc.double({ min: 0, max: 0.4, noNaN: true }), (text, share) => {
        const position = splitPosition(contentHash(document(text)));
        if (splitAt(position, { validation: share, test: 0 }) === 'validation') {
          expect(splitAt(position, { validation: share + 0.3, test: 0.1 })).toBe('validation');
        }
      }),
    );
  });

  test.each([
    [-0.1, 0],
    [0.5, 0.5],
    [Number.NaN, 0],
  ])('refuses validation %s, test %s', (validation, share) => {
    expect(() => checkFractions({ validation, test: share })).toThrow(/The split fractions are/);
  });
});

test('a changed document has its own hash', () => {
  const first = document('a');
  expect(contentHash(first)).toBe(contentHash(first));
  expect(contentHash({ ...first, text: 'b' })).not.toEqual(contentHash(first));
});
