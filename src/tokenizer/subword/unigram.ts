import { TrainMoeError } from '../../errors.js';
import { widthOf } from '../classes.js';
import type { IdBuffer } from '../encoder.js';
import type { SubwordModel } from './model.js';
import type { Trie } from './trie.js';

/** How much less than the least likely token an unknown character scores; the figure is SentencePiece's. */
const UNKNOWN_PENALTY = 10;

/** Room for a word of this many bytes is kept for the next one; more is given back. */
const KEPT_BYTES = 1 << 16;

/** What a Unigram model is made of. */
export interface UnigramOptions {
  readonly trie: Pick<Trie, 'step' | 'idAt'>;
  /** [V] the logarithm of each token's probability. */
  readonly scores: Float64Array;
  /** Stands for characters that no token covers; without it they are an error. */
  readonly unkId: number | undefined;
  /** Where the model came from, for the error's sentence. */
  readonly source: string;
}

/**
 * The Unigram language model of SentencePiece: of all ways to cut a word into tokens the one with the greatest sum of scores,
 * `best[e] = max over tokens text[s..e) of best[s] + score`, found by Viterbi's algorithm. A character that is no token scores
 * 10 below the lowest token, and unknown neighbours become one unknown token. (Kudo, arXiv:1804.10959.)
 */
export function unigram({ trie, scores, unkId, source }: UnigramOptions): SubwordModel {
  const unknownScore =
    scores.reduce((least, score) => Math.min(least, score), Number.POSITIVE_INFINITY) - UNKNOWN_PENALTY;
  const lattice = new Lattice();

  /** Fills the lattice with the best way to the end of each prefix of the word. */
  const search = (bytes: Uint8Array, from: number, to: number, barred: Uint8Array | undefined): void => {
    lattice.begin(to - from);
    for (let at = from; at < to; ) {
      const next = at + widthOf(bytes[at]!);
      const sofar = lattice.best[at - from]!;
      let covered = false; // is the one character a token?
      let node = 0;
      for (let i = at; i < to; ) {
        node = trie.step(node, bytes[i++]!);
        if (node < 0) break;
        const id = trie.idAt(node);
        if (id < 0 || barred?.[id]) continue;
        lattice.reach(i - from, at - from, id, sofar + scores[id]!);
        if (i === next) covered = true;
      }
      if (!covered)
        lattice.reach(next - from, at - from, unkId ?? noUnknown(bytes, at, next, source), sofar + unknownScore);
      at = next;
    }
  };

  return {
    type: 'Unigram',
    pieces: (barred) => ({
      encode(bytes: Uint8Array, from: number, to: number, out: IdBuffer): void {
        search(bytes, from, to, barred);
        const first = out.length;
        for (let end = to - from, last = -1; end > 0; end = lattice.from[end]!) {
          const id = lattice.id[end]!;
          if (id !== unkId || id !== last) out.push(id);
          last = id;
        }
        out.ids.subarray(first, out.length).reverse();
      },
    }),
  };
}

function noUnknown(bytes: Uint8Array, from: number, to: number, source: string): never {
  const character = Buffer.from(bytes.subarray(from, to)).toString('utf8');
  throw new TrainMoeError(
    'bad-data',
    `${source}: the text has ${JSON.stringify(character)}, for which the vocabulary has no token, and the model has no unk_id.`,
  );
}

/** For each place in a word, in bytes: the best sum of scores that reaches it, by which token, and where that began. */
class Lattice {
  best = new Float64Array(64);
  from = new Int32Array(64);
  id = new Int32Array(64);

  /** Makes room for a word of this length; only the start is reached, with score 0. */
  begin(length: number): void {
    if (length >= this.best.length || (length < KEPT_BYTES && this.best.length > KEPT_BYTES * 2)) {
      const room = Math.max(64, length * 2);
      this.best = new Float64Array(room);
      this.from = new Int32Array(room);
      this.id = new Int32Array(room);
    }
    this.best[0] = 0;
    this.from.fill(-1, 0, length + 1);
  }

  /** Of equal sums the first counts, which has the longest last token. */
  reach(end: number, from: number, id: number, score: number): void {
    if (this.from[end]! >= 0 && score <= this.best[end]!) return;
    this.best[end] = score;
    this.from[end] = from;
    this.id[end] = id;
  }
}
