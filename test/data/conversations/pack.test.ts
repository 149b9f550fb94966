import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { batchOf, IGNORE, packRows, positionsOf } from '../../../src/data/index.js';
import type { MaskedIds } from '../../../src/tokenizer/index.js';

/** Ids count up from 100 * example, so that what stands in a batch can be told. */
const example = (index: number, mask: readonly number[]): MaskedIds => ({
  ids: Int32Array.from(mask, (_, i) => 100 * (index + 1) + i),
  mask: Uint8Array.from(mask),
  trained: mask.filter(Boolean).length,
});

const examples = fc
  .array(
    fc.array(fc.constantFrom(0, 1), { minLength: 1, maxLength: 10 }).map((mask) => [0, ...mask]),
    { minLength: 1, maxLength: 40 },
  )
  .map((masks) => masks.map((mask, i) => example(i, mask)));

describe('packing', () => {
  it('puts every example into exactly one row that it fits, in an order that seed and epoch decide', () => {
    fc.assert(
      fc.property(examples, fc.integer({ min: 10, max: 30 }), fc.nat(), fc.nat(9), (some, length, seed, epoch) => {
        const sizes = some.map(positionsOf);
        const rows = packRows(sizes, length, seed, epoch);
        expect(rows.flat().toSorted((a, b) => a - b)).toEqual(some.map((_, i) => i));
        const used = rows.map((row) => row.reduce((sum, i) => sum + sizes[i]!, 0));
        expect(Math.max(...used)).toBeLessThanOrEqual(length);
        // Best fit opens a row only for what no other has room for, so no two are half empty.
        expect(used.filter((u) => 2 * u <= length).length).toBeLessThanOrEqual(1);
        expect(packRows(sizes, length, seed, epoch)).toEqual(rows);
      }),
    );
  });

  it('shuffles anew in each epoch and for each seed', () => {
    const sizes = Array.from({ length: 200 }, (_, i) => 1 + (i % 9));
    const orders = [
      [1, 0],
      [1, 1],
      [2, 0],
    ].map(([seed, epoch]) => packRows(sizes, 20, seed!, epoch!).join(';'));
    expect(new Set(orders).size).toBe(3);
  });

  it('makes as many rows in every epoch, others each time, also of more examples than are sorted at once', () => {
    const sizes = Array.from({ length: 10_000 }, (_, i) => 10 + ((i * 7919) % 50) ** 2);
    const epochs = [0, 1, 2, 3].map((epoch) => packRows(sizes, 3000, 5, epoch));
    expect(new Set(epochs.map((rows) => rows.length)).size).toBe(1);
    const kept = epochs[1]!.filter((row) => row.length > 1).map((row) => row.join());
    const before = new Set(epochs[0]!.map((row) => row.join()));
    expect(kept.filter((row) => before.has(row)).length).toBeLessThan(0.1 * kept.length);
    for (const rows of epochs) expect(new Set(rows.flat()).size).toBe(sizes.length);
  });

  it('fills rows: of 10,000 examples less than a percent of the positions stay empty', () => {
    const sizes = Array.from({ length: 10_000 }, (_, i) => 10 + ((i * 7919) % 500));
    const rows = packRows(sizes, 2048, 1, 0);
    expect(sizes.reduce((a, b) => a + b, 0) / (rows.length * 2048)).toBeGreaterThan(0.99);
  });

  it('lays out a batch as written by hand', () => {
    const batch = batchOf([example(0, [0, 1, 1]), example(1, [0, 0, 1, 0]), example(2, [0, 1])], [[0, 2], [1]]);
    expect({
      ...batch,
      ids: [...batch.ids],
      targets: [...batch.targets],
      documentStart: [...batch.documentStart],
    }).toEqual({
      rows: 2,
      length: 3,
      ids: [100, 101, 300, 200, 201, 202],
      targets: [101, 102, 301, IGNORE, 202, IGNORE],
      documentStart: [0, 0, 2, 0, 0, 0],
      trainedTokens: 4,
      bytes: 0,
    });
  });

  it('trains every masked token once, from the token before it in its own example', () => {
    fc.assert(
      fc.property(examples, fc.nat(), (some, seed) => {
        const rows = packRows(some.map(positionsOf), 25, seed, 0);
        const { ids, targets, documentStart, trainedTokens, length } = batchOf(some, rows);
        const trained: number[] = [];
        targets.forEach((target, i) => {
          const owner = (id: number) => Math.floor(id / 100);
          if (target === IGNORE) return;
          trained.push(target);
          expect(target - ids[i]!).toBe(1);
          const start = documentStart[i]!;
          for (let j = start; j <= i % length; j++) expect(owner(ids[i - (i % length) + j]!)).toBe(owner(ids[i]!));
          expect(ids[i - (i % length) + start]! % 100).toBe(0); // the example's first token, so positions start over
        });
        const expected = some.flatMap(({ ids: all, mask }) => [...all].filter((_, i) => mask[i]));
        expect(trained.toSorted((a, b) => a - b)).toEqual(expected.toSorted((a, b) => a - b));
        expect(trainedTokens).toBe(expected.length);
      }),
    );
  });
});
