import { describe, expect, it } from 'vitest';
import { cutShards, SHARD_BLOCK, shareOf } from '../../src/parallel/index.js';

describe('shards', () => {
  const SIZES = [1, 255, 256, 257, 5000, 3, 100_000, 700];

  it.each([1, 2, 3, 4, 7, 64])('hold every element once, in blocks, as many as the others have: %i ranks', (ranks) => {
    const shards = cutShards(SIZES, ranks);
    expect(shards.length).toBe(SIZES.length);
    const blocks = new Array<number>(ranks).fill(0);
    let last = 0;
    for (const [i, size] of SIZES.entries()) {
      let at = 0;
      for (const { owner, from, to } of shards[i]!) {
        expect(from).toBe(at);
        expect(to).toBeGreaterThan(from);
        expect(from % SHARD_BLOCK).toBe(0);
        expect(owner, 'a rank has one stretch of all tensors').toBeGreaterThanOrEqual(last);
        blocks[owner]! += Math.ceil((to - from) / SHARD_BLOCK);
        [at, last] = [to, owner];
      }
      expect(at).toBe(size);
    }
    expect(Math.max(...blocks) - Math.min(...blocks)).toBeLessThanOrEqual(1);
  });

  it('leave ranks without any where there are fewer blocks', () => {
    expect(cutShards([10], 3)).toEqual([[{ owner: 2, from: 0, to: 10 }]]);
    expect(cutShards([], 3)).toEqual([]);
  });
});

describe('shares of rows', () => {
  it('follow each other and differ by one at most', () => {
    for (const [count, ranks] of [
      [11, 4],
      [3, 4],
      [8, 2],
      [0, 3],
    ] as const) {
      const shares = Array.from({ length: ranks }, (_, rank) => shareOf(count, rank, ranks));
      expect(shares[0]![0]).toBe(0);
      expect(shares.at(-1)![1]).toBe(count);
      for (const [i, [from]] of shares.slice(1).entries()) expect(from).toBe(shares[i]![1]);
      const sizes = shares.map(([from, to]) => to - from);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
    }
  });
});
