import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { longestAnswer, requestTokens } from '../../src/generate/memory.js';

describe('the cache that a request needs', () => {
  it('shares the whole pages of the prompt among its completions', () => {
    expect(requestTokens(64, { count: 3, maxTokens: 1 })).toBe(64 + 3 * 32);
    expect(requestTokens(65, { count: 3, maxTokens: 31 })).toBe(64 + 3 * 32);
    expect(requestTokens(65, { count: 3, maxTokens: 32 })).toBe(64 + 3 * 64);
  });

  it('holds answers of the longest length, and none that is longer', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 9 }),
        fc.nat(4000),
        (prompt, count, extra) => {
          const cache = prompt + extra;
          const pages = 32 * Math.ceil(cache / 32);
          const maxTokens = longestAnswer(prompt, count, cache);
          if (maxTokens >= 1) expect(requestTokens(prompt, { count, maxTokens })).toBeLessThanOrEqual(pages);
          expect(requestTokens(prompt, { count, maxTokens: Math.max(maxTokens, 0) + 1 })).toBeGreaterThan(pages);
        },
      ),
    );
  });
});
