import { TrainMoeError } from '../errors.js';
import { type Draw, drawsOf } from './draws.js';
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
    trainedTokens += hide(ids, targets, candidates, most, options, keyOf(row));
  }
  return { rows: batch.rows, length, ids, targets, documentStart, trainedTokens, targetsPerRow: most, bytes: 0 };
}

/** Hides up to `count` of the candidates; returns how many. */
function hide(
  ids: Int32Array,
  targets: Int32Array,
  candidates: number[],
  count: number,
  options: MaskOptions,
  key: number,
): number {
  const draw = drawsOf(key);
  const hidden = Math.min(count, candidates.length);
  for (let k = 0; k < hidden; k++) {
    const other = k + draw(candidates.length - k);
    [candidates[k], candidates[other]] = [candidates[other]!, candidates[k]!];
    hideAt(candidates[k]!, ids, targets, options, draw);
  }
  return hidden;
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
