import { Merges, type MergeTable, NO_RANK } from './merges.js';
import { RankQueue } from './rank_queue.js';
import { Sweeper } from './sweep.js';

export type { MergeTable } from './merges.js';

/** The tokens of a piece by the place of their first symbol. */
interface Links {
  readonly next: Int32Array; // [place] the place after, or the length
  readonly prev: Int32Array; // [place] the place before, or -1
  readonly pair: Int32Array; // [place] number of the merge that joins the tokens here and after; -1 for none or no token
}

/** Pieces up to this many symbols are merged by looking for the best pair again and again. */
const SHORT = 48;

/** A piece is swept for one rank as long as one in this many of its pairs has that rank. */
const SHARE = 16;

/**
 * Merges the symbols of one piece until no pair has a rank. All ways give the same ids. The short one looks through the
 * piece for each merge. Of a longer piece, a rank that many pairs have (one character a million times, a ruled line) is
 * merged in one sweep over the piece, which is far shorter after it; the long way then keeps, for every rank that is
 * left, the list of places where it applies, and works through the ranks in order. The work is linear in the length of
 * the piece, plus the sorting of the few distinct ranks.
 */
export class Merger {
  readonly #merges: Merges;
  readonly #sweeper: Sweeper;
  readonly #queue: RankQueue;
  readonly #near = new Int32Array(SHORT); // [place] the merge that starts there in a short piece, -1 for none
  #steps = 0;

  constructor(table: MergeTable) {
    this.#merges = new Merges(table);
    this.#sweeper = new Sweeper(this.#merges);
    this.#queue = new RankQueue(this.#merges.ranks);
  }

  /** Places looked at in long pieces since the start: a measure of work that does not depend on the clock. */
  get steps(): number {
    return this.#steps + this.#sweeper.steps;
  }

  /** Merges `ids[0, length)` in place and returns the new length. */
  merge(ids: Int32Array, length: number): number {
    if (length < 2) return length;
    return length <= SHORT ? this.mergeShort(ids, length) : this.mergeLong(ids, length);
  }

  /** The short way; at most `SHORT` symbols. */
  mergeShort(ids: Int32Array, length: number): number {
    const near = this.#near;
    const merges = this.#merges;
    const { rank, merged } = merges;
    let n = length;
    for (let i = 0; i + 1 < n; i++) near[i] = merges.find(ids[i]!, ids[i + 1]!);
    while (n > 1) {
      let best = -1;
      let bestRank = NO_RANK;
      for (let i = 0; i + 1 < n; i++) {
        const m = near[i]!;
        if (m >= 0 && rank[m]! < bestRank) {
          best = i;
          bestRank = rank[m]!;
        }
      }
      if (best < 0) break;
      ids[best] = merged[near[best]!]!;
      n--;
      for (let i = best + 1; i < n; i++) {
        ids[i] = ids[i + 1]!;
        near[i] = near[i + 1]!;
      }
      if (best > 0) near[best - 1] = merges.find(ids[best - 1]!, ids[best]!);
      if (best + 1 < n) near[best] = merges.find(ids[best]!, ids[best + 1]!);
    }
    return n;
  }

  /** Sweeps, then the long way; any length. */
  mergeLong(ids: Int32Array, whole: number): number {
    const sweeper = this.#sweeper;
    const pair = new Int32Array(whole);
    sweeper.begin(ids, pair, whole);
    let length = whole;
    while (sweeper.pairs * SHARE > length) length = sweeper.sweep(ids, pair, length);
    const queue = this.#queue;
    const links = this.#link(pair, length);
    for (let entry = queue.take(); entry >= 0; entry = queue.take()) {
      while (entry >= 0 && !queue.interrupted) {
        const at = queue.placeOf(entry);
        entry = queue.after(entry);
        this.#mergeAt(ids, length, links, at, entry < 0 ? -1 : queue.placeOf(entry));
      }
      queue.putBack(entry);
    }
    let n = 0;
    for (let i = 0; i < length; i = links.next[i]!) ids[n++] = ids[i]!;
    return n;
  }

  /** Merges the pair at `at` if it still is of the rank in work; `upcoming` is the place that comes next at this rank. */
  #mergeAt(ids: Int32Array, length: number, { next, prev, pair }: Links, at: number, upcoming: number): void {
    const { rank, merged, leftRank } = this.#merges;
    const current = this.#queue.rank;
    this.#steps++;
    const m = pair[at]!;
    if (m < 0 || rank[m] !== current) return;
    const token = merged[m]!;
    const gone = next[at]!;
    const after = next[gone]!;
    ids[at] = token;
    pair[gone] = -1;
    pair[at] = -1;
    next[at] = after;
    prev[after] = at;
    if (prev[at]! >= 0) this.#look(ids, pair, prev[at]!, at);
    if (after === length) return;
    // Where the next place is merged right away, the pair between here and it never comes to be.
    const passes = after === upcoming && pair[after]! >= 0 && rank[pair[after]!] === current;
    if (!passes || leftRank[token]! <= current) this.#look(ids, pair, at, after);
  }

  /** Links the places of a piece and queues its pairs. */
  #link(pair: Int32Array, length: number): Links {
    this.#queue.reserve(length);
    const next = new Int32Array(length + 1);
    const prev = new Int32Array(length + 1);
    for (let i = 0; i < length; i++) {
      next[i] = i + 1;
      prev[i] = i - 1;
      this.#enqueue(pair, i);
    }
    return { next, prev, pair };
  }

  /** Looks up the pair of the neighbours at `at` and `right`, and queues it if it merges. */
  #look(ids: Int32Array, pair: Int32Array, at: number, right: number): void {
    pair[at] = this.#merges.findAgain(ids[at]!, ids[right]!);
    this.#enqueue(pair, at);
  }

  #enqueue(pair: Int32Array, at: number): void {
    const m = pair[at]!;
    if (m >= 0) this.#queue.push(this.#merges.rank[m]!, at);
  }
}
