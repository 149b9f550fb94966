import { describe, expect, it } from 'vitest';
import { drawsOf, runLength } from '../../src/data/draws.js';
import {
  type Batch,
  IGNORE,
  type PermuteOptions,
  permutationMask,
  permutedBatches,
  predictedPerRow,
  type TokenStream,
  targetPlaces,
} from '../../src/data/index.js';

const [SEP, CLS, PAD] = [1, 2, 3] as const;
const TOKENS = 5000;

/** Token p of the text is 10 + p, so that ids say where they are from; a sentence ends every 7 tokens, a word begins at even ones. */
const streamOf = (tokens: number): TokenStream =>
  ({
    tokens,
    read: (start: number, count: number, out: Int32Array, at = 0) => {
      if (start < 0 || start + count > tokens) throw new Error(`reads ${start}..${start + count}`);
      for (let i = 0; i < count; i++) out[at + i] = 10 + start + i;
    },
  }) as unknown as TokenStream;

const options: PermuteOptions = {
  sepId: SEP,
  clsId: CLS,
  padId: PAD,
  share: 1 / 6,
  reuse: 32,
  reversed: true,
  startsWord: (id) => id % 2 === 0,
  endsSentence: (id) => (id - 10) % 7 === 6,
};
const [ROWS, LENGTH] = [6, 64];
const open = (more: Partial<PermuteOptions> = {}, tokens = TOKENS, rest: object = {}) =>
  permutedBatches({ shards: streamOf(tokens), rows: ROWS, length: LENGTH, seed: 4, ...rest }, { ...options, ...more });
const K = predictedPerRow(LENGTH, 1 / 6);
const row = (values: Int32Array, r: number) => [...values.subarray(r * LENGTH, (r + 1) * LENGTH)];
const some = (count: number, source = open()): Batch[] => Array.from({ length: count }, () => source.next().value!);

describe('rows of a permutation language model', () => {
  const all = some(20);

  it('are the text from a place on, then two texts, each with its mark, and the last token', () => {
    for (const { ids, types, backwards } of all)
      for (let r = 0; r < ROWS; r++) {
        const own = row(ids, r);
        const step = backwards![r] ? -1 : 1;
        expect(backwards![r]).toBe(r < 3 ? 0 : 1);
        for (let i = 1; i < 32; i++) expect(own[i]).toBe(own[0]! + i * step);
        const [endOfA, endOfB] = [own.indexOf(SEP), own.lastIndexOf(SEP)];
        expect([endOfB, own.at(-1)]).toEqual([LENGTH - 2, CLS]);
        expect(endOfB).toBeGreaterThan(endOfA);
        for (let i = 32; i < endOfA; i++) expect(own[i]).toBe(own[0]! + i * step); // A goes on
        for (let i = endOfA + 2; i < endOfB; i++) expect(own[i]).toBe(own[i - 1]! + step);
        const before = own[endOfA - 1]!; // between two sentences, whichever way they are read
        expect(options.endsSentence(step === 1 ? before : before - 1)).toBe(true);
        expect(row(types!, r)).toEqual(own.map((_, i) => (i > endOfA && i <= endOfB ? 1 : i === LENGTH - 1 ? 2 : 0)));
      }
  });

  it('have a second text that follows the first, half of the time', () => {
    const follows = some(150).flatMap(({ ids, backwards }) =>
      Array.from({ length: ROWS }, (_, r) => {
        const own = row(ids, r);
        const at = own.indexOf(SEP);
        return own[at + 1] === own[at - 1]! + (backwards![r] ? -1 : 1);
      }),
    );
    expect(follows.filter((x) => x).length / follows.length).toBeCloseTo(0.5, 1);
  });

  it('go on where they were before, as far as their history says', () => {
    const source = open();
    const rows = some(120, source);
    const steps = Math.floor((Math.floor((TOKENS - 61) / 32) + 1) / 3);
    for (const [n, { ids, history, backwards }] of rows.entries())
      for (let r = 0; r < ROWS; r++) {
        expect(history![r]).toBeLessThanOrEqual(n % steps);
        for (let back = 1; back <= history![r]!; back++)
          expect(row(rows[n - back]!.ids, r)[0]).toBe(row(ids, r)[0]! - 32 * back * (backwards![r] ? -1 : 1));
      }
    expect(rows.filter(({ history }) => Math.max(...history!) > 10).length).toBeGreaterThan(40);
    expect(source.state).toEqual({ seed: 4, epoch: Math.floor(120 / steps), index: (120 % steps) * ROWS });
  });

  it('are each read once forwards in an epoch, from another one on in the next', () => {
    const steps = Math.floor((Math.floor((TOKENS - 61) / 32) + 1) / 3);
    const [first, second] = [0, 1].map((epoch) => {
      const source = open({}, TOKENS, { state: { seed: 4, epoch, index: 0 } });
      return some(steps, source).flatMap(({ ids }) => [0, 1, 2].map((r) => row(ids, r)[0]!));
    }) as [number[], number[]];
    for (const starts of [first, second]) expect(new Set(starts).size).toBe(3 * steps);
    expect(first[0]).not.toBe(second[0]);
  });

  it('of a text that is shorter than they are end with padding, which nobody sees or predicts', () => {
    for (const tokens of [2, 20, 32, 33, 34, 50, 60]) {
      const batch = open({ reversed: false }, tokens).next().value!;
      const mask = permutationMask(batch as Required<Batch>);
      for (let r = 0; r < ROWS; r++) {
        const own = row(batch.ids, r);
        for (const [i, id] of own.entries())
          if (id === PAD) {
            expect(batch.targets[r * LENGTH + i]).toBe(IGNORE);
            for (let j = 0; j < LENGTH; j++) if (own[j] !== PAD) expect(mask[(r * LENGTH + j) * LENGTH + i]).toBe(1);
          }
        expect(own.filter((id) => id === PAD)).toHaveLength(61 - tokens);
      }
    }
  });
});

describe('what is predicted', () => {
  const all = some(20);

  it('is the token of its own place, never a mark, and so many in every row, in each half their share', () => {
    const early = Math.round((K * 32) / LENGTH);
    for (const { ids, targets, trainedTokens, targetsPerRow } of all) {
      expect([trainedTokens, targetsPerRow]).toEqual([K * ROWS, K]);
      for (let r = 0; r < ROWS; r++) {
        const chosen = row(targets, r);
        for (const [i, target] of chosen.entries())
          if (target !== IGNORE) expect([target, target >= 10]).toEqual([ids[r * LENGTH + i], true]);
        expect(chosen.slice(0, 32).filter((t) => t !== IGNORE)).toHaveLength(early);
        expect(chosen.slice(32).filter((t) => t !== IGNORE)).toHaveLength(K - early);
      }
    }
    expect(predictedPerRow(512, 1 / 6)).toBe(85); // as published
    expect(Math.round((85 * 256) / 512)).toBe(43);
  });

  it('has a turn of its own, and each place of the row comes up alike', () => {
    const counts = new Array<number>(LENGTH).fill(0);
    for (const { targets, turns } of some(200))
      for (let r = 0; r < ROWS; r++) {
        const chosen = row(targets, r);
        const own = row(turns!, r).filter((_, i) => chosen[i] !== IGNORE);
        expect(new Set(own).size).toBe(K);
        for (const [i, t] of chosen.entries()) if (t !== IGNORE) counts[i]!++;
      }
    const mean = (200 * ROWS * K) / (LENGTH - 3);
    for (const count of counts.slice(0, 32)) {
      expect(count).toBeGreaterThan(mean / 3);
      expect(count).toBeLessThan(mean * 2);
    }
    expect(counts.at(-1)).toBe(0);
  });

  it('begins with a word where spans do, in the direction in which people read', () => {
    const roomy = { ...options, share: 1 / 12, reuse: 128, reversed: true };
    const source = permutedBatches({ shards: streamOf(TOKENS), rows: 8, length: 256, seed: 1 }, roomy);
    const firsts = some(40, source).flatMap(({ ids, targets, backwards }) =>
      Array.from({ length: 8 }, (_, r) => {
        const at = (i: number) => targets[r * 256 + i]! !== IGNORE;
        const step = backwards![r] ? -1 : 1;
        const begins = (i: number) => at(i) && !at(i - step);
        return Array.from({ length: 126 }, (_x, i) => i + 1)
          .filter(begins)
          .map((i) => ids[r * 256 + i]! % 2 === 0);
      }).flat(),
    );
    expect(firsts.filter((x) => x).length / firsts.length).toBeGreaterThan(0.75); // the rest tops the number up
  });

  it('is listed with its place, a row at a time', () => {
    const batch = all[0]!;
    const { places, ids } = targetPlaces(batch);
    expect([places.length, ids.length]).toEqual([ROWS * K, ROWS * K]);
    for (const [n, place] of places.entries()) expect(batch.targets[Math.floor(n / K) * LENGTH + place]).toBe(ids[n]);
    const fewer = open({ reversed: false }, 8).next().value!;
    expect(targetPlaces(fewer).places.filter((p) => p >= 0).length).toBe(fewer.trainedTokens);
    expect(fewer.trainedTokens).toBeLessThan(ROWS * K);
  });

  it('takes spans of 1 to 5 tokens, short ones more often', () => {
    const draw = drawsOf(7);
    const counts = new Array<number>(6).fill(0);
    for (let i = 0; i < 20_000; i++) counts[runLength(5, draw)]!++;
    expect(counts[0]).toBe(0);
    for (let n = 1; n <= 5; n++) expect(counts[n]! / 20_000).toBeCloseTo(60 / n / 137, 1);
  });
});

describe('what tokens see of their row', () => {
  const batch = some(1)[0]! as Required<Batch>;
  const mask = permutationMask(batch);
  const hides = (r: number, i: number, j: number) => mask[(r * LENGTH + i) * LENGTH + j] === 1;
  const places = Array.from({ length: LENGTH }, (_, i) => i);

  it('is no target at its own place, nor one whose turn comes later', () => {
    for (let r = 0; r < ROWS; r++) {
      const turns = row(batch.turns, r);
      const targets = places.filter((i) => batch.targets[r * LENGTH + i] !== IGNORE);
      for (const i of targets) {
        expect(hides(r, i, i)).toBe(true);
        for (const j of targets) expect(hides(r, i, j)).toBe(turns[j]! >= turns[i]!);
      }
    }
  });

  it('is, of context, all context of the same half and before it, and no target of it', () => {
    for (let r = 0; r < ROWS; r++) {
      const own = row(batch.ids, r);
      const isTarget = (i: number) => batch.targets[r * LENGTH + i] !== IGNORE;
      const isMark = (i: number) => own[i] === SEP || own[i] === CLS;
      for (const i of places.filter((p) => !isTarget(p) && !isMark(p)))
        for (const j of places) {
          const sameHalf = i < 32 === j < 32;
          const seen = sameHalf ? !isTarget(j) && !isMark(j) : i >= 32;
          expect(hides(r, i, j)).toBe(!seen);
        }
    }
  });

  it('is nothing of the second half from the first, and all of the first from the second', () => {
    for (let r = 0; r < ROWS; r++)
      for (const i of places) for (const j of places) if (i < 32 !== j < 32) expect(hides(r, i, j)).toBe(i < 32);
  });

  it('leads nowhere back to itself: information flows in one order only, so that no target foretells itself', () => {
    // Through any number of layers: what reaches the query of target i is context or has an earlier turn.
    for (let r = 0; r < ROWS; r++) {
      const target = places.find((i) => batch.targets[r * LENGTH + i] !== IGNORE)!;
      const reached = new Set(places.filter((j) => !hides(r, target, j)));
      for (let grown = true; grown; ) {
        grown = false;
        for (const i of reached)
          for (const j of places)
            if (!hides(r, i, j) && !reached.has(j)) {
              reached.add(j);
              grown = true;
            }
      }
      expect(reached.has(target)).toBe(false);
    }
  });
});

describe('the order of rows', () => {
  it('depends on (seed, epoch, index) only', () => {
    const whole = some(9);
    const later = open({}, TOKENS, { state: { seed: 4, epoch: 0, index: 4 * ROWS } });
    expect(some(5, later)).toEqual(whole.slice(4));
    const [other] = some(1, open({}, TOKENS, { seed: 5 }));
    expect(other).not.toEqual(whole[0]);
  });

  it('of an evaluation is that of the text, and ends with it', () => {
    const source = open({ reversed: false }, 64 + 32 * 11, { order: 'sequential', epochs: 1, rows: 4 });
    const rows = [...source];
    expect(rows.map(({ ids }) => [0, 1, 2, 3].map((r) => (ids[r * LENGTH]! - 10) / 32))).toEqual([
      [0, 3, 6, 9],
      [1, 4, 7, 10],
      [2, 5, 8, 11],
    ]);
  });

  it('knows no other number of rows, and no text of one token', () => {
    expect(() => open().next(3)).toThrow(/there are always 6, not 3/);
    expect(() => open({}, 1)).toThrow(/hold 1 tokens; at least 2/);
  });
});
