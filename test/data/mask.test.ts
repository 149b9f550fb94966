import { describe, expect, it } from 'vitest';
import { type Batch, type BatchIterator, IGNORE, type MaskOptions, maskedBatches } from '../../src/data/index.js';

const [BOS, EOS, MASK, WORDS] = [0, 1, 2, 1000] as const;
const options: MaskOptions = {
  maskId: MASK,
  bosId: BOS,
  vocabulary: WORDS,
  isSpecial: (id) => id <= MASK,
  share: 0.15,
};
const LENGTH = 99;

/** Endless windows of words, with the end of a document after every 20 of them. */
function words(index = 0): BatchIterator {
  let at = index;
  const source: BatchIterator = {
    get state() {
      return { seed: 5, epoch: 0, index: at };
    },
    next(rows = 8) {
      const ids = Int32Array.from({ length: rows * LENGTH }, (_, i) => {
        const [window, place] = [at + Math.floor(i / LENGTH), i % LENGTH];
        return place % 21 === 20 ? EOS : 3 + ((window * 31 + place * 7) % 900);
      });
      at += rows;
      const documentStart = ids.map((_, i) => Math.floor((i % LENGTH) / 21) * 21);
      return {
        done: false,
        value: { rows, length: LENGTH, ids, targets: ids, documentStart, trainedTokens: ids.length, bytes: 0 },
      };
    },
    [Symbol.iterator]: () => source,
  };
  return source;
}
const batchOf = (source: BatchIterator, rows?: number): Batch => source.next(rows).value!;

describe('masked batches', () => {
  const plain = batchOf(words(), 400);
  const batch = batchOf(maskedBatches(words(), options), 400);
  const row = LENGTH + 1;
  const shownAt = (r: number) => Math.floor(r / row) * LENGTH + (r % row) - 1;

  it('begin with the first token and go on with the window', () => {
    expect([batch.rows, batch.length]).toEqual([400, row]);
    for (const [r, id] of batch.ids.entries())
      if (r % row === 0) expect(id).toBe(BOS);
      else if (batch.targets[r] === IGNORE) expect(id).toBe(plain.ids[shownAt(r)]);
    expect([...batch.documentStart.subarray(0, 45)]).toEqual([
      ...new Array(22).fill(0),
      ...new Array(21).fill(22),
      43,
      43,
    ]);
  });

  it('hide the same number in every row, never a special token, and ask for what was there', () => {
    for (let r = 0; r < 400; r++) {
      const targets = batch.targets.subarray(r * row, (r + 1) * row);
      expect(targets.filter((t) => t !== IGNORE)).toHaveLength(15);
    }
    expect(batch.trainedTokens).toBe(400 * 15);
    expect(batch.targetsPerRow).toBe(15);
    for (const [r, target] of batch.targets.entries())
      if (target !== IGNORE) expect([target, target > MASK]).toEqual([plain.ids[shownAt(r)], true]);
  });

  it('show eight of ten as the mask, one as another token, one as it is', () => {
    const hidden = [...batch.targets.keys()].filter((r) => batch.targets[r] !== IGNORE);
    const share = (is: (r: number) => boolean) => hidden.filter(is).length / hidden.length;
    const others = hidden.filter((r) => batch.ids[r] !== MASK && batch.ids[r] !== batch.targets[r]);
    expect(share((r) => batch.ids[r] === MASK)).toBeCloseTo(0.8, 1);
    expect(share((r) => batch.ids[r] === batch.targets[r])).toBeCloseTo(0.1, 1);
    expect(others.length / hidden.length).toBeCloseTo(0.1, 1);
    expect(others.every((r) => batch.ids[r]! > MASK && batch.ids[r]! < WORDS)).toBe(true);
    expect(new Set(others.map((r) => batch.ids[r])).size).toBeGreaterThan(300);
  });

  it('hide every place alike', () => {
    const counts = new Array<number>(row).fill(0);
    for (const [r, target] of batch.targets.entries()) if (target !== IGNORE) counts[r % row]!++;
    const ordinary = counts.filter((n) => n > 0);
    const mean = 6000 / ordinary.length;
    expect(counts[0]).toBe(0);
    for (const count of ordinary) expect(Math.abs(count - mean)).toBeLessThan(5 * Math.sqrt(mean));
  });

  it('depend on the place in the data only, not on how many rows are taken at once', () => {
    const source = maskedBatches(words(), options);
    const cut = [batchOf(source, 100), batchOf(source, 300)];
    expect([...cut[0]!.ids, ...cut[1]!.ids]).toEqual([...batch.ids]);
    expect([...cut[0]!.targets, ...cut[1]!.targets]).toEqual([...batch.targets]);
    const again = batchOf(maskedBatches(words(100), options), 300);
    expect(again).toEqual(cut[1]);
    expect(source.state.index).toBe(400);
  });

  it('of another epoch or seed hide other tokens', () => {
    const other = words();
    const elsewhere: BatchIterator = Object.create(other, { state: { get: () => ({ seed: 5, epoch: 1, index: 0 }) } });
    const second = batchOf(maskedBatches(elsewhere, options), 400);
    expect(second.targets).not.toEqual(batch.targets);
  });

  it('hide fewer where there are too few words, and say so where none can take their place', () => {
    const few = { ...options, isSpecial: (id: number) => id !== 10 };
    const one = batchOf(maskedBatches(words(), few), 1);
    expect(one.trainedTokens).toBeLessThan(15);
    expect(one.targetsPerRow).toBe(15);
    const none = { ...options, vocabulary: 3 };
    expect(() => batchOf(maskedBatches(words(), none), 400)).toThrow(/nearly all are special/);
  });
});
