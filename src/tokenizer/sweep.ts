import { type Merges, NO_RANK } from './merges.js';

/**
 * Merges by sweeping: all pairs of the smallest rank in one pass over a piece, from left to right, written over the piece
 * itself. This is the order of the definition as long as no merge makes a pair of that rank or a smaller one; if one
 * does, the sweep stops right there, and what it leaves is what the definition has at that point.
 */
export class Sweeper {
  /** The smallest rank of the piece, and how many of its pairs have it; 0 pairs after a sweep that stopped. */
  #rank = NO_RANK;
  pairs = 0;
  /** Places looked at since the start. */
  steps = 0;

  constructor(readonly merges: Merges) {}

  /** Begins a piece: sets `pair[i]` to the merge that joins `ids[i]` and `ids[i + 1]`, -1 for none. */
  begin(ids: Int32Array, pair: Int32Array, length: number): void {
    const { merges } = this;
    this.#forget();
    for (let i = 0; i + 1 < length; i++) {
      pair[i] = merges.findAgain(ids[i]!, ids[i + 1]!);
      this.#count(pair[i]!);
    }
    pair[length - 1] = -1;
  }

  /** One sweep over `ids[0, length)` and `pair`, which stay in step; returns the new length. */
  sweep(ids: Int32Array, pair: Int32Array, length: number): number {
    const { merges } = this;
    const { rank, merged, leftRank } = merges;
    const current = this.#rank;
    this.#forget();
    this.steps += length;
    let out = 0; // what was written so far; nothing in it has a pair of this rank or a smaller one
    let fresh = false; // is its last token a merged one?
    for (let at = 0; at < length; ) {
      const m = pair[at]!;
      const joins = m >= 0 && rank[m] === current;
      // Two merges in a row: the pair that is there between them must not be the next of the definition.
      if (joins && fresh && leftRank[ids[out - 1]!]! <= current) {
        pair[out - 1] = merges.find(ids[out - 1]!, ids[at]!);
        if (this.#rankOf(pair[out - 1]!) <= current) return this.#stop(ids, pair, length, out, at);
      }
      const token = joins ? merged[m]! : ids[at]!;
      let stops = false;
      if (out > 0) {
        const before = joins || fresh ? merges.findAgain(ids[out - 1]!, token) : pair[at - 1]!;
        pair[out - 1] = before;
        stops = this.#rankOf(before) <= current;
        this.#count(before);
      }
      ids[out++] = token;
      at += joins ? 2 : 1;
      fresh = joins;
      if (stops) {
        pair[out - 1] = at < length ? merges.find(token, ids[at]!) : -1;
        return this.#stop(ids, pair, length, out, at);
      }
    }
    pair[out - 1] = -1;
    return out;
  }

  /** Moves what a sweep has not come to, from `at` on, behind what it has written. */
  #stop(ids: Int32Array, pair: Int32Array, length: number, out: number, at: number): number {
    ids.copyWithin(out, at, length);
    pair.copyWithin(out, at, length);
    this.#forget();
    return out + length - at;
  }

  #rankOf(m: number): number {
    return m < 0 ? NO_RANK : this.merges.rank[m]!;
  }

  #count(m: number): void {
    const rank = this.#rankOf(m);
    if (rank < this.#rank) {
      this.#rank = rank;
      this.pairs = 0;
    }
    if (rank === this.#rank && m >= 0) this.pairs++;
  }

  #forget(): void {
    this.#rank = NO_RANK;
    this.pairs = 0;
  }
}
