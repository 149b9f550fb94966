import { TrainMoeError } from '../errors.js';
import { blankBatch } from './blank.js';
import { type Draw, drawsOf } from './draws.js';
import { type BatchIterator, type BatchOptions, checkIndex, seedOf, tooShort } from './loader.js';
import { keyedHash, streamKey } from './order.js';
import type { TokenStream } from './shards/read.js';
import { range, type SpanOptions, type TurnRow, takeTurns } from './turns.js';
import type { Batch } from './types.js';

/** How words are chosen that a permutation language model predicts. */
export interface PermuteOptions extends SpanOptions {
  /** Ends each of the two texts of a row... */
  readonly sepId: number;
  /** ...and this the row. */
  readonly clsId: number;
  /** Fills rows of a text that is shorter than they are. */
  readonly padId: number;
  /** First positions of a row, behind which the next row begins: what is remembered of it. */
  readonly reuse: number;
  /** The later half of the rows reads the text from its end. */
  readonly reversed: boolean;
  /** A sentence ends with this token. */
  endsSentence(id: number): boolean;
}

/** The share that XLNet predicts: K = 6, of 512 positions 85. */
export const PREDICTED_SHARE = 1 / 6;

/** Tokens of a row that are of no text: one behind each of its two texts, and the last. */
const MARKS = 3;

/** Random numbers besides those of order.ts, fim.ts and mask.ts. */
const SALT = 4;

/** Predicted tokens of a row, at most. */
export const predictedPerRow = (length: number, share: number): number => Math.max(2, Math.round(share * length));

/**
 * Batches of a stream as XLNet reads them. Yang et al., arXiv:1906.08237, sections 2.2 to 2.5.
 *
 * Row r of every batch reads a part of the stream of its own, `reuse` tokens further in each batch than in the one before, so that
 * a model can remember what it saw in it. A row is these tokens, and then `A <sep> B <sep> <cls>`: A is what follows, B what follows
 * that or, half of the time, a piece from anywhere. In both halves of a row spans of words are chosen, and the order in which they
 * are predicted: `turns`. Ids stay what they are; a target is the token of its own place.
 *
 * Which rows there are, and what of them is predicted when, depends on (seed, epoch, index) only.
 * @throws TrainMoeError `bad-data` for less than two tokens
 */
export function permutedBatches(options: BatchOptions, permuting: PermuteOptions): BatchIterator {
  const { shards, rows, length, epochs = Number.POSITIVE_INFINITY, state } = options;
  if (shards.tokens < 2) throw tooShort(shards.tokens);
  const seed = seedOf(options);
  const lanes = lanesOf(shards.tokens, options, permuting);
  const size = lanes.steps * rows;
  let { epoch, index } = state ?? { epoch: 0, index: 0 };
  checkIndex(index, size);
  return {
    get state() {
      return { seed, epoch, index };
    },
    next(wanted = rows) {
      if (wanted !== rows)
        throw new TrainMoeError(
          'bad-argument',
          `Rows go on where those of the batch before ended, so there are always ${rows}, not ${wanted}.`,
        );
      if (epoch >= epochs) return { done: true, value: undefined };
      const batch = emptyBatch(rows, length, permuting);
      const places = lanes.at(seed, epoch, index / rows);
      const key = streamKey(seed, epoch, SALT);
      let trainedTokens = 0;
      for (const [row, place] of places.entries()) {
        batch.history[row] = place.history;
        batch.backwards[row] = place.backwards ? 1 : 0;
        const draw = drawsOf(keyedHash(key, index + row));
        trainedTokens += fillRow(rowOf(batch, row), readerOf(shards, place), permuting, draw);
      }
      index += rows;
      if (index === size) [epoch, index] = [epoch + 1, 0];
      return { done: false, value: { ...batch, trainedTokens } };
    },
    [Symbol.iterator]() {
      return this;
    },
  };
}

/** Where a row begins. */
interface Place {
  /** Token of the stream, counted from its end where the row runs backwards. */
  readonly start: number;
  readonly backwards: boolean;
  /** So many batches before this one hold what comes right before the row, without a gap. */
  readonly history: number;
}

/** Rows that a text has, `reuse` tokens after each other; the last one is not filled up, unless it is the only one. */
export function permutedWindows(tokens: number, length: number, reuse: number): number {
  const text = length - MARKS;
  return tokens < text ? 1 : Math.floor((tokens - text) / reuse) + 1;
}

/** The parts of a stream that its rows read, each from another window on in every epoch. */
function lanesOf(
  tokens: number,
  { rows, length, order }: Pick<BatchOptions, 'rows' | 'length' | 'order'>,
  { reuse, reversed }: PermuteOptions,
) {
  const forwards = reversed ? Math.ceil(rows / 2) : rows;
  const windows = permutedWindows(tokens, length, reuse);
  const steps = Math.max(1, Math.floor(windows / forwards));
  return {
    steps,
    at(seed: number, epoch: number, step: number): readonly Place[] {
      const first = order === 'sequential' ? 0 : drawsOf(streamKey(seed, epoch, SALT + 0x100))(windows);
      return Array.from({ length: rows }, (_, row) => {
        const backwards = row >= forwards;
        const window = ((row % forwards) * steps + step + first) % windows;
        return { start: window * reuse, backwards, history: Math.min(step, window) };
      });
    },
  };
}

/** Reads up to `count` tokens from `start` tokens behind a place on; `anywhere` reads `count` from anywhere. */
interface Reader {
  readonly backwards: boolean;
  from(start: number, count: number): Int32Array;
  anywhere(count: number, draw: Draw): Int32Array;
}

function readerOf(stream: TokenStream, { start: place, backwards }: Place): Reader {
  const read = (start: number, wanted: number): Int32Array => {
    const count = Math.max(0, Math.min(wanted, stream.tokens - start));
    const ids = new Int32Array(count);
    if (count > 0) stream.read(backwards ? stream.tokens - start - count : start, count, ids);
    return backwards ? ids.reverse() : ids;
  };
  return {
    backwards,
    from: (start, count) => read(place + start, count),
    anywhere: (count, draw) => read(draw(stream.tokens - count + 1), count),
  };
}

/** The parts of a batch that are one row's. */
type Row = TurnRow & Pick<PermutedBatch, 'types'>;

type PermutedBatch = Batch & Required<Pick<Batch, 'types' | 'turns' | 'history' | 'backwards'>>;

function emptyBatch(rows: number, length: number, { padId, share }: PermuteOptions): PermutedBatch {
  return {
    ...blankBatch(rows, length, padId),
    turns: new Int32Array(rows * length).fill(length + MARKS), // after all others: nobody sees padding
    history: new Int32Array(rows),
    backwards: new Int32Array(rows),
    targetsPerRow: predictedPerRow(length, share),
  };
}

const rowOf = ({ ids, targets, types, turns, length }: PermutedBatch, row: number): Row => {
  const of = (values: Int32Array) => values.subarray(row * length, (row + 1) * length);
  return { ids: of(ids), targets: of(targets), types: of(types), turns: of(turns) };
};

/** Writes a row; returns how many of its tokens are predicted. */
function fillRow(row: Row, reader: Reader, o: PermuteOptions, draw: Draw): number {
  const { length } = row.ids;
  const goal = predictedPerRow(length, o.share);
  const early = Math.round((goal * o.reuse) / length);
  const first = reader.from(0, o.reuse);
  row.ids.set(first);
  const { a, b } = twoTexts(reader, length - o.reuse - MARKS, o, draw);
  const [endOfA, endOfB] = [o.reuse + a.length, o.reuse + a.length + 1 + b.length];
  row.ids.set(a, o.reuse);
  row.ids.set(b, endOfA + 1);
  row.ids[endOfA] = o.sepId;
  row.ids[endOfB] = o.sepId;
  row.ids[endOfB + 1] = o.clsId;
  row.types.fill(1, endOfA + 1, endOfB + 1);
  row.types[endOfB + 1] = 2;
  const beginning = range(0, first.length);
  const rest = [...range(o.reuse, endOfA), ...range(endOfA + 1, endOfB)];
  const textwards = (places: number[]) => (reader.backwards ? places.reverse() : places);
  return (
    takeTurns(row, { places: textwards(beginning), marks: [], goal: early, turn: 0 }, o, draw) +
    // Tokens of the first half see none of the second, which begins after the last turn of the first.
    takeTurns(
      row,
      { places: textwards(rest), marks: [endOfA, endOfB, endOfB + 1], goal: goal - early, turn: o.reuse + 1 },
      o,
      draw,
    )
  );
}

/** What follows the first half of a row, cut where a sentence ends, if one does; its second part half of the time from elsewhere. */
function twoTexts(reader: Reader, count: number, o: PermuteOptions, draw: Draw) {
  const text = reader.from(o.reuse, count);
  const cuts = range(1, text.length).filter((i) => o.endsSentence(text[reader.backwards ? i : i - 1]!));
  const cut = cuts.length > 0 ? cuts[draw(cuts.length)]! : text.length > 1 ? 1 + draw(text.length - 1) : text.length;
  const follows = cuts.length > 0 && draw(2) === 1;
  const rest = text.length - cut;
  return { a: text.subarray(0, cut), b: follows ? text.subarray(cut) : reader.anywhere(rest, draw) };
}
