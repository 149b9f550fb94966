import { blankBatch } from './blank.js';
import { type Draw, drawsOf } from './draws.js';
import { type BatchIterator, type BatchOptions, checkIndex, seedOf, tooShort } from './loader.js';
import { hideWords, type MaskOptions, maskedPerRow } from './mask.js';
import { keyedHash, permutation, streamKey } from './order.js';
import type { TokenStream } from './shards/read.js';
import type { Batch } from './types.js';

/** How pairs of texts are made, of which a model says how they belong together. */
export interface PairOptions {
  /**
   * `next`: the second text of half of the pairs is from elsewhere, which is label 1. Devlin et al., BERT, arXiv:1810.04805, appendix
   * A.2. `order`: half of the pairs are swapped, which is label 1. Lan et al., ALBERT, arXiv:1909.11942, section 3.1.
   */
  readonly relation: 'next' | 'order';
  /** First token of a pair... */
  readonly clsId: number;
  /** ...and the one behind each of its texts. */
  readonly sepId: number;
  /** Fills rows whose pair is shorter. */
  readonly padId: number;
  /** Share of the pairs that are cut to a random length, so that models know short texts, too. */
  readonly short: number;
  /** A sentence ends with this token. */
  endsSentence(id: number): boolean;
}

/** Tokens of a row that are of neither text. */
export const PAIR_MARKS = 3;

/** Random numbers besides those of order.ts, fim.ts, mask.ts and permute.ts. */
const SALT = 5;

/** Times that another document is asked for. */
const TRIES = 10;

/**
 * Batches of pairs of texts, `<cls> A <sep> B <sep>`, with words hidden as in maskedBatches(). A is sentences of a document, B those
 * that follow or, where nothing does and as the relation says, sentences of another. Each row begins with the sentence at a place of
 * its own, every row's length of the stream, from another token on in every epoch.
 *
 * What rows hold depends on (seed, epoch, index) only.
 * @throws TrainMoeError `bad-data` for a text without two tokens
 */
export function pairedBatches(options: BatchOptions, pairs: PairOptions, masking: MaskOptions): BatchIterator {
  const { shards, rows: usual, length, order = 'shuffled', epochs = Number.POSITIVE_INFINITY, state } = options;
  if (shards.tokens < 2) throw tooShort(shards.tokens);
  const seed = seedOf(options);
  const budget = length - PAIR_MARKS;
  const windows = Math.ceil(shards.tokens / budget);
  let { epoch, index } = state ?? { epoch: 0, index: 0 };
  checkIndex(index, windows);
  const epochAt = (number: number) => ({
    number,
    place: order === 'shuffled' ? permutation(windows, seed, number) : (i: number) => i,
    shift: order === 'shuffled' ? drawsOf(streamKey(seed, number, SALT + 0x100))(budget) : 0,
    key: streamKey(seed, number, SALT),
  });
  let current = epochAt(epoch);
  const nextRow = (batch: PairedBatch, row: number): number => {
    if (current.number !== epoch) current = epochAt(epoch);
    const start = Math.min(current.place(index) * budget + current.shift, shards.tokens - 1);
    const key = keyedHash(current.key, index);
    const pair = pairAt(shards, start, budget, pairs, drawsOf(keyedHash(key, 0)));
    if (++index === windows) [epoch, index] = [epoch + 1, 0];
    return writeRow(batch, row, pair, pairs, masking, keyedHash(key, 1));
  };
  return {
    get state() {
      return { seed, epoch, index };
    },
    next(wanted = usual) {
      const rows = Math.min(wanted, (epochs - epoch) * windows - index);
      if (rows <= 0) return { done: true, value: undefined };
      const batch = emptyBatch(rows, length, pairs, masking);
      let trainedTokens = 0;
      for (let row = 0; row < rows; row++) trainedTokens += nextRow(batch, row);
      return { done: false, value: { ...batch, trainedTokens } };
    },
    [Symbol.iterator]() {
      return this;
    },
  };
}

type PairedBatch = Batch & Required<Pick<Batch, 'types' | 'relations' | 'targetsPerRow'>>;

function emptyBatch(rows: number, length: number, { padId }: PairOptions, { share }: MaskOptions): PairedBatch {
  return {
    ...blankBatch(rows, length, padId),
    relations: new Int32Array(rows),
    targetsPerRow: maskedPerRow(length, share),
  };
}

/** Two texts and how they belong together. */
interface Pair {
  readonly a: Int32Array;
  readonly b: Int32Array;
  readonly label: 0 | 1;
}

/** The pair whose first sentence holds the token at `place`, of at most `budget` tokens. */
function pairAt(stream: TokenStream, place: number, budget: number, o: PairOptions, draw: Draw): Pair {
  const short = draw(2 ** 32) < o.short * 2 ** 32;
  const wanted = short ? 2 + draw(budget - 1) : budget;
  const document = stream.documentAt(place);
  const { ids, ends } = sentencesAt(stream, document, place, wanted, budget, o);
  const alone = ends.length < 2;
  const cut = alone ? ids.length : ends[draw(ends.length - 1)]!;
  const [first, rest] = [ids.subarray(0, cut), ids.subarray(cut)];
  if (alone || (o.relation === 'next' && draw(2) === 0))
    return fitted(first, elsewhere(stream, document, wanted - cut, budget, o, draw), 1, budget, draw);
  if (o.relation === 'order' && draw(2) === 0) return fitted(rest, first, 1, budget, draw);
  return fitted(first, rest, 0, budget, draw);
}

/** Sentences of another document, if there is one, from a random one on. */
function elsewhere(
  stream: TokenStream,
  document: number,
  wanted: number,
  budget: number,
  o: PairOptions,
  draw: Draw,
): Int32Array {
  let other = draw(stream.documents);
  for (let tries = 1; tries < TRIES && other === document; tries++) other = draw(stream.documents);
  const [from, to] = textOf(stream, other);
  return sentencesAt(stream, other, from + draw(Math.max(1, to - from)), wanted, budget, o).ids;
}

/** Where the text of a document is, without its first and last special token. */
function textOf(stream: TokenStream, document: number): readonly [number, number] {
  const from = stream.documentStart(document) + (stream.bosId === undefined ? 0 : 1);
  return [from, Math.max(from, stream.documentStart(document + 1) - (stream.eosId === undefined ? 0 : 1))];
}

/** Whole sentences from the one at `place` on, until there are `wanted` tokens or the document ends, and where each ends. */
function sentencesAt(
  stream: TokenStream,
  document: number,
  place: number,
  wanted: number,
  budget: number,
  { endsSentence }: PairOptions,
): { readonly ids: Int32Array; readonly ends: readonly number[] } {
  const [from, to] = textOf(stream, document);
  const at = Math.max(from, Math.min(place, to - 1));
  const first = Math.max(from, at - budget); // a sentence is not looked for further back, nor read further than this
  const ids = new Int32Array(Math.max(0, Math.min(to, at + 2 * budget) - first));
  stream.read(first, ids.length, ids);
  let start = at - first;
  while (start > 0 && !endsSentence(ids[start - 1]!)) start--;
  if (start === 0 && first > from) start = at - first;
  const ends: number[] = [];
  for (let i = start; i < ids.length && (ends.at(-1) ?? 0) < Math.max(1, wanted); i++)
    if (endsSentence(ids[i]!) || i + 1 === ids.length) ends.push(i + 1 - start);
  return { ids: ids.subarray(start, start + (ends.at(-1) ?? 0)), ends };
}

/** Takes tokens from the longer text, at its beginning or its end, until both fit. */
function fitted(a: Int32Array, b: Int32Array, label: 0 | 1, budget: number, draw: Draw): Pair {
  const texts = [a, b] as [Int32Array, Int32Array];
  for (let left = a.length + b.length - budget; left > 0; left--) {
    const longer = texts[0].length > texts[1].length ? 0 : 1;
    texts[longer] = draw(2) === 0 ? texts[longer].subarray(1) : texts[longer].subarray(0, -1);
  }
  return { a: texts[0], b: texts[1], label };
}

/** Writes a row with some of its words hidden; returns how many. */
function writeRow(
  batch: PairedBatch,
  row: number,
  { a, b, label }: Pair,
  { clsId, sepId }: PairOptions,
  masking: MaskOptions,
  key: number,
): number {
  const { length } = batch;
  const at = row * length;
  const of = (values: Int32Array) => values.subarray(at, at + length);
  const [ids, targets] = [of(batch.ids), of(batch.targets)];
  const [endOfA, endOfB] = [1 + a.length, 2 + a.length + b.length];
  ids[0] = clsId;
  ids.set(a, 1);
  ids[endOfA] = sepId;
  ids.set(b, endOfA + 1);
  ids[endOfB] = sepId;
  of(batch.types).fill(1, endOfA + 1, endOfB + 1);
  of(batch.documentStart).fill(endOfB + 1, endOfB + 1, length); // padding is a text of its own, which nobody else sees
  batch.relations[row] = label;
  const candidates: number[] = [];
  for (let i = 0; i < endOfB; i++) if (!masking.isSpecial(ids[i]!)) candidates.push(i);
  return hideWords(ids, targets, candidates, maskedPerRow(endOfB + 1, masking.share), masking, key);
}
