import { PairMap } from './pairs.js';

/**
 * The merges of a byte-pair vocabulary. Merge number m joins the neighbours `left[m]`, `right[m]` to `merged[m]`; the
 * smaller `rank[m]` goes first, and equal ranks (several ways to the same token, as in tiktoken) from the left.
 * Sennrich et al., arXiv:1508.07909.
 */
export interface MergeTable {
  readonly left: Int32Array;
  readonly right: Int32Array;
  readonly merged: Int32Array;
  readonly rank: Int32Array;
}

/** The tokens of a piece by the place of their first symbol. */
interface Links {
  readonly next: Int32Array; // [place] the place after, or the length
  readonly prev: Int32Array; // [place] the place before, or -1
  readonly pair: Int32Array; // [place] number of the merge that joins the tokens here and after; -1 for none or no token
}

/** Pieces up to this many symbols are merged by looking for the best pair again and again. */
const SHORT = 48;

/**
 * Merges the symbols of one piece until no pair has a rank. Both ways give the same ids: the short one looks through the
 * piece for each merge; the long one keeps, for every rank, the list of places where it applies, and works through the
 * ranks in order. Its work is linear in the length of the piece, plus the sorting of the few distinct ranks.
 */
export class Merger {
  readonly #pairs: PairMap;
  readonly #queue: RankQueue;
  readonly #leftRank: Int32Array;
  #seenLeft = -1; // the pair looked up last: repeated text asks for the same one over and over
  #seenRight = -1;
  #seen = -1;
  /** Places looked at by the long way since the start: a measure of work that does not depend on the clock. */
  steps = 0;

  constructor(readonly table: MergeTable) {
    this.#pairs = new PairMap(table.rank.length);
    let ranks = 0;
    for (let m = 0; m < table.rank.length; m++) {
      this.#pairs.getOrSet(table.left[m]!, table.right[m]!, m);
      ranks = Math.max(ranks, table.rank[m]! + 1);
    }
    this.#queue = new RankQueue(ranks);
    this.#leftRank = leftRanks(table);
  }

  /** Merges `ids[0, length)` in place and returns the new length. */
  merge(ids: Int32Array, length: number): number {
    if (length < 2) return length;
    return length <= SHORT ? this.mergeShort(ids, length) : this.mergeLong(ids, length);
  }

  readonly #near = new Int32Array(SHORT); // merge number of the pair that starts at each place, -1 for none

  /** The short way; at most `SHORT` symbols. */
  mergeShort(ids: Int32Array, length: number): number {
    const near = this.#near;
    const { rank, merged } = this.table;
    const pairs = this.#pairs;
    let n = length;
    for (let i = 0; i + 1 < n; i++) near[i] = pairs.get(ids[i]!, ids[i + 1]!);
    while (n > 1) {
      let best = -1;
      let bestRank = 0x7fffffff;
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
      if (best > 0) near[best - 1] = pairs.get(ids[best - 1]!, ids[best]!);
      if (best + 1 < n) near[best] = pairs.get(ids[best]!, ids[best + 1]!);
    }
    return n;
  }

  /** The long way; any length. */
  mergeLong(ids: Int32Array, length: number): number {
    const queue = this.#queue;
    const links = this.#link(ids, length);
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
    const { rank, merged } = this.table;
    const current = this.#queue.rank;
    this.steps++;
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
    if (!passes || this.#leftRank[token]! <= current) this.#look(ids, pair, at, after);
  }

  /** Links the places of a piece and queues its pairs. */
  #link(ids: Int32Array, length: number): Links {
    this.#queue.reserve(length);
    const next = new Int32Array(length + 1);
    const prev = new Int32Array(length + 1);
    const pair = new Int32Array(length);
    for (let i = 0; i < length; i++) {
      next[i] = i + 1;
      prev[i] = i - 1;
      if (i + 1 < length) this.#look(ids, pair, i, i + 1);
    }
    pair[length - 1] = -1;
    return { next, prev, pair };
  }

  /** Looks up the pair of the neighbours at `at` and `right`, and queues it if it merges. */
  #look(ids: Int32Array, pair: Int32Array, at: number, right: number): void {
    const a = ids[at]!;
    const b = ids[right]!;
    if (a !== this.#seenLeft || b !== this.#seenRight) {
      this.#seenLeft = a;
      this.#seenRight = b;
      this.#seen = this.#pairs.get(a, b);
    }
    const m = this.#seen;
    pair[at] = m;
    if (m >= 0) this.#queue.push(this.table.rank[m]!, at);
  }
}

/**
 * Places by rank. A heap holds the distinct ranks, and each rank has a linked list of places, which is sorted when its
 * turn comes if it was not filled from left to right. A rank's list is taken as a whole; if a place of that rank or of a
 * smaller one is pushed meanwhile, `interrupted` says so, and the rest of the list goes back.
 */
class RankQueue {
  /** The rank whose list was taken last. */
  rank = -1;
  interrupted = false;
  readonly #heads: Int32Array; // [rank] first entry of its list, -1 = none
  readonly #tails: Int32Array;
  readonly #unsorted: Uint8Array;
  readonly #heap: number[] = [];
  #takenTail = -1;
  #place = new Int32Array(1024); // [entry]
  #link = new Int32Array(1024); // [entry] the next entry of its rank, -1 = none
  #used = 0;

  constructor(ranks: number) {
    this.#heads = new Int32Array(ranks).fill(-1);
    this.#tails = new Int32Array(ranks);
    this.#unsorted = new Uint8Array(ranks);
  }

  /** Makes room for the places of a piece of this length, in one go; the queue is empty. */
  reserve(length: number): void {
    if (this.#place.length >= length * 2) return;
    this.#place = new Int32Array(length * 2);
    this.#link = new Int32Array(length * 2);
  }

  placeOf(entry: number): number {
    return this.#place[entry]!;
  }

  after(entry: number): number {
    return this.#link[entry]!;
  }

  push(rank: number, place: number): void {
    const entry = this.#used++;
    if (entry === this.#place.length) this.#grow();
    this.#place[entry] = place;
    this.#link[entry] = -1;
    if (rank <= this.rank) this.interrupted = true;
    if (this.#heads[rank] === -1) {
      this.#heads[rank] = entry;
      this.#unsorted[rank] = 0;
      pushHeap(this.#heap, rank);
    } else {
      const tail = this.#tails[rank]!;
      if (this.#place[tail]! > place) this.#unsorted[rank] = 1;
      this.#link[tail] = entry;
    }
    this.#tails[rank] = entry;
  }

  /** Takes the list of the smallest rank, from left to right: its first entry, or -1 when nothing is left. */
  take(): number {
    const rank = this.#heap[0];
    this.interrupted = false;
    this.rank = rank ?? -1;
    if (rank === undefined) {
      this.#used = 0;
      return -1;
    }
    if (this.#unsorted[rank] === 1) this.#sort(rank);
    const first = this.#heads[rank]!;
    this.#heads[rank] = -1;
    this.#takenTail = this.#tails[rank]!;
    popHeap(this.#heap);
    return first;
  }

  /** Gives back what is left, from this entry on, of the list taken last. */
  putBack(entry: number): void {
    if (entry < 0) return;
    const { rank } = this;
    const pushed = this.#heads[rank]!;
    this.#heads[rank] = entry;
    if (pushed === -1) {
      this.#tails[rank] = this.#takenTail;
      this.#unsorted[rank] = 0;
      pushHeap(this.#heap, rank);
    } else {
      this.#link[this.#takenTail] = pushed;
      this.#unsorted[rank] = 1;
    }
  }

  #sort(rank: number): void {
    const places: number[] = [];
    for (let entry = this.#heads[rank]!; entry !== -1; entry = this.#link[entry]!) places.push(this.#place[entry]!);
    const sorted = Int32Array.from(places).sort();
    let i = 0;
    for (let entry = this.#heads[rank]!; entry !== -1; entry = this.#link[entry]!) this.#place[entry] = sorted[i++]!;
    this.#unsorted[rank] = 0;
  }

  #grow(): void {
    const place = new Int32Array(this.#place.length * 2);
    const link = new Int32Array(this.#link.length * 2);
    place.set(this.#place);
    link.set(this.#link);
    this.#place = place;
    this.#link = link;
  }
}

/** The smallest rank of the merges with a token on their left, by token; without any, larger than all ranks. */
function leftRanks({ left, right, merged, rank }: MergeTable): Int32Array {
  let size = 0;
  for (let m = 0; m < rank.length; m++) size = Math.max(size, left[m]! + 1, right[m]! + 1, merged[m]! + 1);
  const out = new Int32Array(size).fill(0x7fffffff);
  for (let m = 0; m < rank.length; m++) out[left[m]!] = Math.min(out[left[m]!]!, rank[m]!);
  return out;
}

function pushHeap(heap: number[], value: number): void {
  let i = heap.push(value) - 1;
  while (i > 0) {
    const up = (i - 1) >> 1;
    if (heap[up]! <= value) break;
    heap[i] = heap[up]!;
    i = up;
  }
  heap[i] = value;
}

function popHeap(heap: number[]): void {
  const value = heap.pop()!;
  if (heap.length === 0) return;
  let i = 0;
  for (;;) {
    let down = 2 * i + 1;
    if (down >= heap.length) break;
    if (down + 1 < heap.length && heap[down + 1]! < heap[down]!) down++;
    if (heap[down]! >= value) break;
    heap[i] = heap[down]!;
    i = down;
  }
  heap[i] = value;
}
