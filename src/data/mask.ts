import { TrainMoeError } from '../errors.js';
import { type Draw, drawsOf, runLength, shuffleFirst } from './draws.js';
import type { BatchIterator } from './loader.js';
import { keyedHash, streamKey } from './order.js';
import { type Batch, IGNORE } from './types.js';

/** How words are hidden from a masked language model. */
export interface MaskOptions {
  /** Takes the place of most hidden tokens. */
  readonly maskId: number;
  /** First token of every row; undefined: none. */
  readonly bosId: number | undefined;
  /** Ids below this may replace a hidden token... */
  readonly vocabulary: number;
  /** ...and these may not, nor are they hidden. */
  isSpecial(id: number): boolean;
  /** Share of the positions of a row that are hidden. */
  readonly share: number;
  /** Whole words are hidden, several in a row; absent: single tokens, wherever they stand. */
  readonly words?: WholeWords | undefined;
}

/** Which words are hidden together. Lan et al., ALBERT, arXiv:1909.11942, section 4.1. */
export interface WholeWords {
  /** At most so many, n of them with p(n) proportional to 1/n; 1: each by itself. */
  readonly longest: number;
  /** A word begins with this token. */
  startsWord(id: number): boolean;
}

/** The share that all papers hide. */
export const MASKED_SHARE = 0.15;

/** Hidden tokens of a row of `length` positions, at most: rows with many special tokens have fewer. */
export const maskedPerRow = (length: number, share: number): number => Math.max(1, Math.round(share * length));

/** Streams of random numbers, beside those of order.ts and fim.ts. */
const SALT = 2;

/**
 * Batches of a stream as a masked language model reads them: of the tokens of each row a share is hidden, which are its targets.
 * Of ten hidden tokens eight are shown as the mask, one as another token, one as it is. Devlin et al., arXiv:1810.04805,
 * section 3.1; other ones in every epoch: Liu et al., RoBERTa, arXiv:1907.11692, section 4.1.
 *
 * `source` has rows of one position less where each begins with `bosId`. What is hidden depends on (seed, epoch, index) only.
 */
export function maskedBatches(source: BatchIterator, options: MaskOptions): BatchIterator {
  return {
    get state() {
      return source.state;
    },
    next(rows) {
      const { seed, epoch, index } = source.state;
      const { done, value } = rows === undefined ? source.next() : source.next(rows);
      if (done) return { done: true, value: undefined };
      const key = streamKey(seed, epoch, SALT);
      return { done: false, value: masked(value, options, (row) => keyedHash(key, index + row)) };
    },
    [Symbol.iterator]() {
      return this;
    },
  };
}

/** A batch of windows with some of their tokens hidden; `keyOf` gives each row its random numbers. */
export function masked(batch: Batch, options: MaskOptions, keyOf: (row: number) => number): Batch {
  const { bosId, isSpecial } = options;
  const shift = bosId === undefined ? 0 : 1;
  const length = batch.length + shift;
  const size = batch.rows * length;
  const ids = new Int32Array(size);
  const targets = new Int32Array(size).fill(IGNORE);
  const documentStart = new Int32Array(size);
  const most = maskedPerRow(length, options.share);
  let trainedTokens = 0;
  for (let row = 0; row < batch.rows; row++) {
    const [from, at] = [row * batch.length, row * length];
    if (bosId !== undefined) ids[at] = bosId;
    for (let i = 0; i < batch.length; i++) {
      ids[at + shift + i] = batch.ids[from + i]!;
      const start = batch.documentStart[from + i]!;
      documentStart[at + shift + i] = start === 0 ? 0 : start + shift; // the row's first document takes the first token in
    }
    const candidates: number[] = [];
    for (let i = at; i < at + length; i++) if (!isSpecial(ids[i]!)) candidates.push(i);
    trainedTokens += hideWords(ids, targets, candidates, most, options, keyOf(row));
  }
  return { rows: batch.rows, length, ids, targets, documentStart, trainedTokens, targetsPerRow: most, bytes: 0 };
}

/** Hides up to `count` of the candidates, which ascend; returns how many. */
export function hideWords(
  ids: Int32Array,
  targets: Int32Array,
  candidates: number[],
  count: number,
  options: MaskOptions,
  key: number,
): number {
  const draw = drawsOf(key);
  if (options.words) {
    const chosen = chooseRuns(ids, candidates, count, options.words, draw);
    for (const position of chosen) hideAt(position, ids, targets, options, draw);
    return chosen.length;
  }
  const hidden = Math.min(count, candidates.length);
  for (let k = 0; k < hidden; k++) {
    const other = k + draw(candidates.length - k);
    [candidates[k], candidates[other]] = [candidates[other]!, candidates[k]!];
    hideAt(candidates[k]!, ids, targets, options, draw);
  }
  return hidden;
}

/** Runs of whole words, from random words on, until `count` tokens are chosen or no run fits any more. */
function chooseRuns(
  ids: Int32Array,
  candidates: readonly number[],
  count: number,
  { longest, startsWord }: WholeWords,
  draw: Draw,
): number[] {
  const words: number[][] = [];
  for (const [i, position] of candidates.entries())
    if (i > 0 && candidates[i - 1] === position - 1 && !startsWord(ids[position]!)) words.at(-1)!.push(position);
    else words.push([position]);
  const begins = words.map((_, word) => word);
  shuffleFirst(begins, begins.length, draw);
  const taken = new Set<number>();
  const chosen: number[] = [];
  for (const begin of begins) {
    if (chosen.length >= count) break;
    for (let n = Math.min(runLength(longest, draw), words.length - begin); n > 0; n--) {
      const run = words.slice(begin, begin + n);
      if (chosen.length + run.reduce((sum, word) => sum + word.length, 0) > count) continue; // a shorter one may fit
      if (run.every((_, i) => !taken.has(begin + i))) {
        for (const i of run.keys()) taken.add(begin + i);
        chosen.push(...run.flat());
      }
      break;
    }
  }
  return chosen;
}

/** Of ten hidden tokens eight are shown as the mask, one as another token, one as it is. */
function hideAt(position: number, ids: Int32Array, targets: Int32Array, options: MaskOptions, draw: Draw): void {
  targets[position] = ids[position]!;
  const shown = draw(10);
  if (shown < 8) ids[position] = options.maskId;
  else if (shown === 8) ids[position] = anotherToken(options, draw);
}

/** @throws TrainMoeError `bad-config` when nearly all tokens are special */
function anotherToken({ vocabulary, isSpecial }: MaskOptions, draw: Draw): number {
  for (let tries = 0; tries < 1000; tries++) {
    const id = draw(vocabulary);
    if (!isSpecial(id)) return id;
  }
  throw new TrainMoeError('bad-config', `Of the ${vocabulary} tokens of the vocabulary nearly all are special.`);
}
