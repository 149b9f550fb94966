import { TrainMoeError } from '../errors.js';
import { keyedHash, streamKey } from './order.js';
import { lastNotAbove } from './search.js';
import type { TokenStream } from './shards/read.js';
import { type EpochStream, plainStream } from './stream.js';

/**
 * Fill in the middle: a share of the documents is turned, before packing, into
 *
 *     [bos] <fim_begin> prefix <fim_hole> suffix <fim_end> middle [eos]
 *
 * (prefix-suffix-middle). DeepSeek-V3, arXiv:2412.19437, section 4.1, with rate 0.1. Both cuts are uniform over the
 * token positions of the document.
 */
export interface FimOptions {
  readonly beginId: number;
  readonly holeId: number;
  readonly endId: number;
  /** Share of the documents. Default 0.1. */
  readonly rate?: number;
}

const DEFAULT_RATE = 0.1;
/** A document grows by its three marks. */
const MARKS = 3;
/** Documents per entry of the running count; finding a document walks through at most one such group. */
const GROUP = 32;

/** A document's tokens in their new order: single marks and ranges of the base stream. */
type Piece = { readonly mark: number } | { readonly from: number; readonly to: number };

/**
 * The stream of an epoch with FIM applied: which documents and where they are cut depends on (seed, epoch, document)
 * alone. Positions are found through a running count of the chosen documents, one number per 32 documents, which is
 * derived anew for each epoch.
 */
export function fimStream(base: TokenStream, options: FimOptions, seed: number, epoch: number): EpochStream {
  const { rate = DEFAULT_RATE } = options;
  checkOptions(base, options, rate);
  const { tokens, chosen, lengthOf, locate } = layOut(base, rate, streamKey(seed, epoch, 1));
  const piecesOf = documentPieces(base, options, seed, epoch);
  return {
    tokens,
    read(start, count, out, at) {
      let { document, start: documentStart } = locate(start);
      let done = 0;
      while (done < count) {
        const skip = start + done - documentStart;
        const length = lengthOf(document);
        const n = Math.min(count - done, length - skip);
        if (chosen(document)) copyPieces(base, piecesOf(document), skip, n, out, at + done);
        else base.read(base.documentStart(document) + skip, n, out, at + done);
        done += n;
        documentStart += length;
        document++;
      }
    },
    *documentStarts(start, end) {
      if (start >= end) return;
      let { document, start: position } = locate(start);
      for (; document < base.documents && position < end; document++) {
        if (position >= start) yield position;
        position += lengthOf(document);
      }
    },
  };
}

interface Layout {
  readonly tokens: number;
  chosen(document: number): boolean;
  /** Tokens of a document, its marks included. */
  lengthOf(document: number): number;
  /** The document that holds the token at `position`, and where it starts. */
  locate(position: number): { document: number; start: number };
}

/** Where the documents lie in a stream in which those chosen under `key` have grown. */
function layOut(base: TokenStream, rate: number, key: number): Layout {
  const threshold = rate * 2 ** 32;
  const chosen = (document: number): boolean => keyedHash(key, document) < threshold;
  const counts = countByGroup(base.documents, chosen);
  const groups = counts.length - 1;
  const groupStart = (group: number): number => {
    return base.documentStart(Math.min(base.documents, group * GROUP)) + MARKS * counts[group]!;
  };
  const lengthOf = (document: number): number => {
    const plain = base.documentStart(document + 1) - base.documentStart(document);
    return plain + (chosen(document) ? MARKS : 0);
  };
  return {
    tokens: groupStart(groups),
    chosen,
    lengthOf,
    locate(position) {
      const group = lastNotAbove(groups, groupStart, position);
      let document = group * GROUP;
      let start = groupStart(group);
      for (let length = lengthOf(document); start + length <= position; length = lengthOf(document)) {
        document++;
        start += length;
      }
      return { document, start };
    },
  };
}

function checkOptions(base: TokenStream, options: FimOptions, rate: number): void {
  if (!(rate >= 0 && rate <= 1)) throw new TrainMoeError('bad-config', `The FIM rate is ${rate}, expected 0 to 1.`);
  for (const name of ['beginId', 'holeId', 'endId'] as const) {
    const id = options[name];
    if (Number.isInteger(id) && id >= 0 && id < base.vocabSize) continue;
    throw new TrainMoeError(
      'bad-config',
      `FIM ${name} is ${id}, expected an id below the vocabulary size ${base.vocabSize}.`,
    );
  }
}

/** [g] how many of the documents before group g are chosen; the last entry counts all. */
function countByGroup(documents: number, chosen: (document: number) => boolean): Float64Array {
  const groups = Math.ceil(documents / GROUP);
  const counts = new Float64Array(groups + 1);
  for (let group = 0; group < groups; group++) {
    let sum = counts[group]!;
    const end = Math.min(documents, (group + 1) * GROUP);
    for (let document = group * GROUP; document < end; document++) if (chosen(document)) sum++;
    counts[group + 1] = sum;
  }
  return counts;
}

function documentPieces(base: TokenStream, { beginId, holeId, endId }: FimOptions, seed: number, epoch: number) {
  const keys = [streamKey(seed, epoch, 2), streamKey(seed, epoch, 3)] as const;
  return (document: number): readonly Piece[] => {
    const start = base.documentStart(document);
    const end = base.documentStart(document + 1);
    const from = start + (base.bosId === undefined ? 0 : 1);
    const to = end - (base.eosId === undefined ? 0 : 1);
    const cuts = keys.map((key) => from + Math.floor((keyedHash(key, document) / 2 ** 32) * (to - from + 1)));
    const first = Math.min(...cuts);
    const second = Math.max(...cuts);
    return [
      { from: start, to: from },
      { mark: beginId },
      { from, to: first },
      { mark: holeId },
      { from: second, to },
      { mark: endId },
      { from: first, to: second },
      { from: to, to: end },
    ];
  };
}

/** Copies tokens `skip` .. `skip + count - 1` of a document given as pieces. */
function copyPieces(
  base: TokenStream,
  pieces: readonly Piece[],
  skip: number,
  count: number,
  out: Int32Array,
  at: number,
): void {
  let position = 0;
  for (const piece of pieces) {
    const length = 'mark' in piece ? 1 : piece.to - piece.from;
    const from = Math.max(skip, position);
    const to = Math.min(skip + count, position + length);
    if (from < to) {
      if ('mark' in piece) out[at + from - skip] = piece.mark;
      else base.read(piece.from + from - position, to - from, out, at + from - skip);
    }
    position += length;
  }
}

/** The stream of an epoch, with FIM when asked for. */
export function epochStream(base: TokenStream, fim: FimOptions | undefined, seed: number, epoch: number): EpochStream {
  return fim === undefined ? plainStream(base) : fimStream(base, fim, seed, epoch);
}
