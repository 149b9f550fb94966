import { describe, expect, it } from 'vitest';
import {
  type Batch,
  IGNORE,
  type MaskOptions,
  type PairOptions,
  pairedBatches,
  type TokenStream,
} from '../../src/data/index.js';

const [PAD, CLS, SEP, MASK, BOS, EOS] = [0, 1, 2, 3, 4, 5] as const;

/**
 * 40 documents of 30 to 225 tokens, each begun and ended by a special token. Word w of document d is 100 + 1000 d + w, and every
 * sixth ends a sentence.
 */
const lengths = Array.from({ length: 40 }, (_, d) => 30 + 5 * d);
const documents = lengths.map((n, d) => [BOS, ...Array.from({ length: n }, (_, w) => 100 + 1000 * d + w), EOS]);
const streamOf = (all: readonly (readonly number[])[]): TokenStream => {
  const starts = [0];
  for (const of of all) starts.push(starts.at(-1)! + of.length);
  const tokens = all.flat();
  return {
    tokens: tokens.length,
    documents: all.length,
    bosId: BOS,
    eosId: EOS,
    documentStart: (d: number) => starts[d]!,
    documentAt: (p: number) => starts.findLastIndex((s) => s <= p),
    read: (start: number, count: number, out: Int32Array, at = 0) => {
      if (start < 0 || start + count > tokens.length) throw new Error(`reads ${start}..${start + count}`);
      out.set(tokens.slice(start, start + count), at);
    },
  } as unknown as TokenStream;
};
const stream = streamOf(documents);

const pairs: PairOptions = {
  relation: 'next',
  clsId: CLS,
  sepId: SEP,
  padId: PAD,
  short: 0.1,
  endsSentence: (id) => id >= 100 && (id % 1000) % 6 === 5,
};
/** Nothing is hidden behind another token, so that rows can be read. */
const masking: MaskOptions = {
  maskId: MASK,
  bosId: undefined,
  vocabulary: 100_000,
  isSpecial: (id) => id < 100,
  share: 0.15,
};
const LENGTH = 48;
const open = (more: Partial<PairOptions> = {}, rest: object = {}, hide: Partial<MaskOptions> = {}) =>
  pairedBatches(
    { shards: stream, rows: 8, length: LENGTH, seed: 3, ...rest },
    { ...pairs, ...more },
    { ...masking, ...hide },
  );

interface Row {
  readonly a: number[];
  readonly b: number[];
  readonly label: number;
  readonly types: number[];
  readonly documentStart: number[];
  readonly hidden: number[];
  readonly shown: number[];
}

/** Rows with their hidden tokens back in place. */
const rowsOf = (batch: Batch): Row[] =>
  Array.from({ length: batch.rows }, (_, r) => {
    const of = (values: Int32Array) => [...values.subarray(r * LENGTH, (r + 1) * LENGTH)];
    const [shown, targets] = [of(batch.ids), of(batch.targets)];
    const whole = shown.map((id, i) => (targets[i] === IGNORE ? id : targets[i]!));
    const [first, second] = [whole.indexOf(SEP), whole.lastIndexOf(SEP)];
    expect(whole[0]).toBe(CLS);
    expect(whole.slice(second + 1).every((id) => id === PAD)).toBe(true);
    return {
      a: whole.slice(1, first),
      b: whole.slice(first + 1, second),
      label: batch.relations![r]!,
      types: of(batch.types!),
      documentStart: of(batch.documentStart),
      hidden: targets.flatMap((t, i) => (t === IGNORE ? [] : [i])),
      shown,
    };
  });
const some = (count: number, source = open()) => rowsOf(source.next(count).value!);
const documentOf = (id: number) => Math.floor((id - 100) / 1000);
const follows = (x: readonly number[]) => x.every((id, i) => i === 0 || id === x[i - 1]! + 1);
const share = (all: readonly boolean[]) => all.filter((x) => x).length / all.length;

describe('pairs of texts', () => {
  const rows = some(2000);

  it('are each a piece of one document, with types, and padding that is a text of its own', () => {
    for (const { a, b, types, documentStart } of rows) {
      const end = a.length + b.length + 3;
      expect(end).toBeLessThanOrEqual(LENGTH);
      expect([a.length > 0, b.length > 0, follows(a), follows(b)]).toEqual([true, true, true, true]);
      expect(types).toEqual(types.map((_, i) => (i >= a.length + 2 && i < end ? 1 : 0)));
      expect(documentStart).toEqual(documentStart.map((_, i) => (i < end ? 0 : end)));
    }
  });

  it('follow each other in a document, or are of two, as the label says; half of them', () => {
    for (const { a, b, label } of rows) {
      if (label === 1) expect(documentOf(a[0]!)).not.toBe(documentOf(b[0]!));
      else expect(documentOf(a[0]!)).toBe(documentOf(b[0]!));
      if (label === 0) expect(b[0]!).toBeGreaterThan(a.at(-1)!);
    }
    const long = rows.filter(({ a }) => lengths[documentOf(a[0]!)]! > 100);
    expect(share(long.map(({ label }) => label === 1))).toBeGreaterThan(0.45);
    expect(share(long.map(({ label }) => label === 1))).toBeLessThan(0.6); // pieces of one sentence are always label 1
  });

  it('fill their rows where the document does, but for the short ones', () => {
    const full = (all: readonly Row[]) => share(all.map(({ a, b }) => a.length + b.length + 3 === LENGTH));
    const inside = (all: readonly Row[]) =>
      all.filter(({ a, b, label }) => label === 0 && (b.at(-1)! % 1000) - 100 < lengths[documentOf(a[0]!)]! - 1);
    expect(full(inside(rows))).toBeGreaterThan(0.8);
    expect(full(inside(some(1000, open({ short: 0 }))))).toBe(1);
    expect(full(inside(some(1000, open({ short: 1 }))))).toBeLessThan(0.4);
  });

  it('begin with a sentence unless they were too long', () => {
    const begins = (id: number) => id % 1000 === 100 || pairs.endsSentence(id - 1);
    const whole = rows.filter(({ a, b }) => a.length + b.length + 3 < LENGTH);
    for (const { a, b } of whole) {
      expect([begins(a[0]!), begins(b[0]!)]).toEqual([true, true]);
    }
  });

  it('hide a share of their tokens, no special one, up to the number of every row', () => {
    for (const { a, b, hidden, shown } of rows) {
      expect(hidden).toHaveLength(Math.max(1, Math.round(0.15 * (a.length + b.length + 3))));
      for (const i of hidden) expect([0, a.length + 1, a.length + b.length + 2]).not.toContain(i);
      expect(shown.filter((id) => id === MASK).length).toBeLessThanOrEqual(hidden.length);
    }
    expect(open().next(3).value!.targetsPerRow).toBe(Math.round(0.15 * LENGTH));
  });

  it('are swapped half of the time where their order is asked for', () => {
    const ordered = some(2000, open({ relation: 'order' }));
    const same = ordered.filter(({ a, b }) => documentOf(a[0]!) === documentOf(b[0]!));
    expect(same.length).toBeGreaterThan(1600);
    for (const { a, b, label } of same) expect(label).toBe(a[0]! < b[0]! ? 0 : 1);
    expect(share(same.map(({ label }) => label === 1))).toBeCloseTo(0.5, 1);
    for (const { label, a, b } of ordered) if (documentOf(a[0]!) !== documentOf(b[0]!)) expect(label).toBe(1); // one sentence alone
  });

  it('come from one document where there is no other', () => {
    const alone = pairedBatches(
      { shards: streamOf([documents[39]!]), rows: 8, length: LENGTH, seed: 1 },
      pairs,
      masking,
    );
    const found = rowsOf(alone.next(200).value!);
    expect(share(found.map(({ label }) => label === 1))).toBeCloseTo(0.5, 0);
  });

  it('survive documents without words, and without sentences', () => {
    const odd = streamOf([
      [BOS, EOS],
      [BOS, 100, EOS],
      [BOS, ...new Array<number>(300).fill(106), EOS],
    ]);
    const source = pairedBatches({ shards: odd, rows: 64, length: LENGTH, seed: 1 }, pairs, masking);
    const batch = source.next().value!;
    expect(batch.relations!.every((label) => label === 0 || label === 1)).toBe(true);
    expect(batch.trainedTokens).toBe(batch.targets.filter((t) => t !== IGNORE).length);
  });
});

describe('the order of pairs', () => {
  it('depends on (seed, epoch, index) only, not on how many are taken at once', () => {
    const source = open();
    const cut = [source.next(30).value!, source.next(50).value!, source.next(200).value!];
    const whole = open().next(280).value!;
    expect(cut.flatMap(({ ids }) => [...ids])).toEqual([...whole.ids]);
    expect(cut.flatMap(({ relations }) => [...relations!])).toEqual([...whole.relations!]);
    const state = { seed: 3, epoch: 0, index: 30 };
    expect(open({}, { state }).next(50).value).toEqual(cut[1]);
    expect(open({}, { seed: 4 }).next(30).value).not.toEqual(cut[0]);
    const windows = Math.ceil(stream.tokens / (LENGTH - 3));
    expect(source.state).toEqual({ seed: 3, epoch: Math.floor(280 / windows), index: 280 % windows });
  });

  it('reads every document in an epoch that is longer than a row, from other places in the next', () => {
    const windows = Math.ceil(stream.tokens / (LENGTH - 3));
    const starts = [0, 1].map((epoch) => {
      const rows = some(windows, open({ short: 0 }, { state: { seed: 3, epoch, index: 0 } }));
      return new Set(rows.map(({ a }) => documentOf(a[0]!)));
    }) as [Set<number>, Set<number>];
    for (const found of starts)
      for (const [d, n] of lengths.entries()) if (n > 2 * LENGTH) expect(found.has(d)).toBe(true);
    const first = some(windows, open()).map(({ a }) => a.join());
    const second = some(windows, open({}, { state: { seed: 3, epoch: 1, index: 0 } })).map(({ a }) => a.join());
    expect(new Set([...first, ...second]).size).toBeGreaterThan(1.3 * windows);
  });

  it('of an evaluation ends with the text', () => {
    const source = open({}, { order: 'sequential', epochs: 1, rows: 50 });
    const all = [...source].flatMap(rowsOf);
    expect(all).toHaveLength(Math.ceil(stream.tokens / (LENGTH - 3)));
    const at = all.map(({ a }) => documentOf(a[0]!));
    expect(at).toEqual(at.toSorted((x, y) => x - y));
    expect(() => open({}, { shards: streamOf([[BOS]]) })).toThrow(/hold 1 tokens/);
  });
});

describe('whole words', () => {
  /** Words of three tokens. */
  const words = (longest: number) => ({ words: { longest, startsWord: (id: number) => (id % 1000) % 3 === 1 } });
  const begins = words(1).words.startsWord;

  it.each([1, 3])('are hidden in runs of up to %d, none in part', (longest) => {
    const rows = some(500, open({}, {}, words(longest)));
    const counts = new Array<number>(5).fill(0);
    for (const { a, b, hidden } of rows) {
      expect(hidden.length).toBeLessThanOrEqual(Math.max(1, Math.round(0.15 * (a.length + b.length + 3))));
      const ids = [CLS, ...a, SEP, ...b, SEP];
      const chosen = new Set(hidden);
      for (const i of hidden) {
        const inner = (at: number) => ids[at]! >= 100 && !begins(ids[at]!) && ids[at - 1]! >= 100;
        if (inner(i)) expect(chosen.has(i - 1)).toBe(true);
        if (inner(i + 1)) expect(chosen.has(i + 1)).toBe(true);
      }
      let run = 0;
      for (let i = 0; i <= LENGTH; i++)
        if (chosen.has(i)) run++;
        else if (run > 0) {
          counts[Math.min(4, Math.ceil(run / 3))]!++;
          run = 0;
        }
    }
    expect(rows.filter(({ hidden }) => hidden.length === 0).length).toBeLessThan(60);
    if (longest === 3) expect(counts[2]!).toBeGreaterThan(50);
    else expect(counts[1]!).toBeGreaterThan(4 * counts[2]!);
  });
});
