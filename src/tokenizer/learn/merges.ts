import { ByteMap } from '../bytemap.js';
import type { MergeTable } from '../merge.js';
import { PairMap } from '../pairs.js';
import type { Counts } from './count.js';
import { PairHeap } from './heap.js';
import { Ints } from './ints.js';

const WALL = -1; // between words
const DEAD = -2; // inside a token; the last place of a token of n > 1 bytes holds -1 - n instead

/**
 * Learns merges from counted pieces (Sennrich et al., arXiv:1508.07909): the most frequent pair of neighbours becomes a
 * token, again and again; of equally frequent pairs the one with the smallest (left id, right id). Overlapping
 * occurrences count ("aaa" holds (a, a) twice) and merge from the left.
 *
 * All words lie side by side in one array, one place per byte. A token keeps the place of its first byte; the next token
 * is found by its length in bytes, the one before by the length noted at its last place. Every pair knows the places
 * where it was seen, and every place the pair that begins there, so a merge touches only the places of its pair and
 * their neighbours, and asks the hash map once for each different neighbour.
 */
export class MergeLearner {
  readonly #symbols: Int32Array; // [place] id, or WALL, DEAD, or the note at the end of a token
  readonly #pairAt: Int32Array; // [place] the pair that begins there, -1 = none
  readonly #wordOf: Int32Array; // [place] index of its word
  readonly #weights: Float64Array; // [word] how often it occurs

  readonly #pairs = new PairMap(1 << 16);
  readonly #left = new Ints(1 << 16); // [pair]
  readonly #right = new Ints(1 << 16); // [pair]
  readonly #head = new Ints(1 << 16); // [pair] its first entry in the lists of places, -1 = none
  #counts = new Float64Array(1 << 16); // [pair]
  #done = new Uint8Array(1 << 16); // [pair] 1 once it has been merged
  readonly #place: Ints; // [entry]
  readonly #link: Ints; // [entry] the next entry of the same pair, -1 = none
  readonly #heap = new PairHeap();

  readonly #grown = new Ints(); // pairs that the present merge brings forth or makes more frequent
  readonly #withBefore: Int32Array; // [id] the pair (id, merged), valid if #stampBefore[id] is the present merge
  readonly #withAfter: Int32Array; // [id] the pair (merged, id), likewise
  readonly #stampBefore: Int32Array; // [id] number of the merge that #withBefore[id] is of
  readonly #stampAfter: Int32Array;
  #stamp = 0;

  readonly #tokens = new ByteMap(); // bytes of single bytes and of what merges made
  readonly #tokenIds = new Ints(); // [index in #tokens] id
  readonly #indexOf: Int32Array; // [id] index in #tokens
  readonly #lengths: Int32Array; // [id] bytes
  readonly #merges = { left: new Ints(), right: new Ints(), merged: new Ints() };
  #scratch = new Uint8Array(256);
  #nextId: number;

  /**
   * `byteIds` [256] and `firstId` tell the ids of single bytes and of the first merge; ids stay under `vocabSize`.
   * Pairs seen fewer than `minFrequency` times are left alone.
   */
  constructor(
    counted: Counts,
    byteIds: Int32Array,
    firstId: number,
    readonly vocabSize: number,
    readonly minFrequency: number,
  ) {
    this.#nextId = firstId;
    [this.#withBefore, this.#withAfter, this.#stampBefore, this.#stampAfter, this.#indexOf] = Array.from(
      { length: 5 },
      () => new Int32Array(vocabSize),
    ) as [Int32Array, Int32Array, Int32Array, Int32Array, Int32Array];
    this.#lengths = new Int32Array(vocabSize).fill(1);
    for (let byte = 0; byte < 256; byte++) this.#name(byteIds[byte]!, Uint8Array.of(byte), 1);
    const places = counted.bytes.length + counted.counts.length + 1;
    this.#weights = counted.counts;
    this.#symbols = new Int32Array(places).fill(WALL);
    this.#pairAt = new Int32Array(places).fill(-1);
    this.#wordOf = new Int32Array(places);
    this.#place = new Ints(places * 2);
    this.#link = new Ints(places * 2);
    this.#layOut(counted, byteIds);
    this.#queueGrown();
  }

  /** How many merges there are so far. */
  get size(): number {
    return this.#merges.left.length;
  }

  /** Learns up to `steps` merges more; false when the vocabulary is full or no pair is frequent enough. */
  run(steps: number): boolean {
    for (let n = 0; n < steps; n++) {
      if (this.#nextId >= this.vocabSize) return false;
      const pair = this.#best();
      if (pair < 0) return false;
      this.#apply(pair);
    }
    return true;
  }

  /** The merges in order, and the bytes of each token that they make. */
  take(): { readonly table: MergeTable; readonly tokens: readonly (readonly [id: number, bytes: Uint8Array])[] } {
    const [left, right, merged] = [this.#merges.left.take(), this.#merges.right.take(), this.#merges.merged.take()];
    const all = Array.from(
      { length: this.#tokens.size },
      (_, i) => [this.#tokenIds.at(i), this.#tokens.key(i).slice()] as const,
    );
    return { table: { left, right, merged, rank: left.map((_, m) => m) }, tokens: all };
  }

  /** Writes the words down and counts their pairs of bytes. */
  #layOut({ bytes, starts, counts }: Counts, byteIds: Int32Array): void {
    const known = new Int32Array(1 << 16).fill(-1); // pair of two bytes
    for (let word = 0, at = 1; word < counts.length; word++, at++) {
      for (let i = starts[word]!, end = starts[word + 1]!; i < end; i++, at++) {
        this.#symbols[at] = byteIds[bytes[i]!]!;
        this.#wordOf[at] = word;
        if (i + 1 === end) continue;
        const key = (bytes[i]! << 8) | bytes[i + 1]!;
        if (known[key] === -1) known[key] = this.#grow(byteIds[bytes[i]!]!, byteIds[bytes[i + 1]!]!);
        this.#see(known[key]!, at, counts[word]!);
      }
    }
  }

  /** The most frequent pair, or -1. An entry of the heap may be out of date; a larger count has an entry of its own. */
  #best(): number {
    for (;;) {
      const pair = this.#heap.pop();
      if (pair < 0) return -1;
      const count = this.#counts[pair]!;
      if (count === this.#heap.count) return pair;
      if (count >= this.minFrequency) this.#heap.push(pair, this.#left.at(pair), this.#right.at(pair), count);
    }
  }

  #apply(pair: number): void {
    const left = this.#left.at(pair);
    const right = this.#right.at(pair);
    const merged = this.#idFor(left, right);
    if (this.#done[pair] === 0) {
      this.#merges.left.push(left);
      this.#merges.right.push(right);
      this.#merges.merged.push(merged);
      this.#done[pair] = 1;
    }
    this.#stamp++;
    const first = this.#head.at(pair);
    this.#head.set(pair, -1);
    if (left === right) {
      for (const at of this.#inOrder(first)) this.#mergeAt(at, pair, left, right, merged);
    } else {
      for (let entry = first; entry >= 0; entry = this.#link.at(entry)) {
        this.#mergeAt(this.#place.at(entry), pair, left, right, merged);
      }
    }
    this.#counts[pair] = 0;
    this.#queueGrown();
  }

  /** Only where a token can overlap itself does the order of its places matter. */
  #inOrder(first: number): Int32Array {
    const places = new Ints();
    for (let entry = first; entry >= 0; entry = this.#link.at(entry)) places.push(this.#place.at(entry));
    return places.take().sort();
  }

  /** Merges the pair at one place, if it is still there. */
  #mergeAt(at: number, pair: number, left: number, right: number, merged: number): void {
    const pairAt = this.#pairAt;
    if (pairAt[at] !== pair) return;
    const symbols = this.#symbols;
    const second = at + this.#lengths[left]!;
    const after = second + this.#lengths[right]!;
    const weight = this.#weights[this.#wordOf[at]!]!;
    const noted = symbols[at - 1]!;
    const lost = pairAt[second]!;
    symbols[at] = merged;
    symbols[second] = DEAD;
    symbols[after - 1] = -1 - (after - at);
    pairAt[second] = -1;
    pairAt[at] = -1;
    if (noted !== WALL) {
      const before = noted >= 0 ? at - 1 : at + noted + 1;
      this.#counts[pairAt[before]!]! -= weight;
      this.#see(this.#before(symbols[before]!, merged), before, weight);
    }
    if (lost >= 0) {
      this.#counts[lost]! -= weight;
      this.#see(this.#after(merged, symbols[after]!), at, weight);
    }
  }

  /** Counts a pair at a place. */
  #see(pair: number, place: number, weight: number): void {
    this.#pairAt[place] = pair;
    this.#counts[pair]! += weight;
    this.#link.push(this.#head.at(pair));
    this.#head.set(pair, this.#place.push(place));
  }

  /** The pair (id, merged). */
  #before(id: number, merged: number): number {
    if (this.#stampBefore[id] !== this.#stamp) {
      this.#stampBefore[id] = this.#stamp;
      this.#withBefore[id] = this.#grow(id, merged);
    }
    return this.#withBefore[id]!;
  }

  /** The pair (merged, id). */
  #after(merged: number, id: number): number {
    if (this.#stampAfter[id] !== this.#stamp) {
      this.#stampAfter[id] = this.#stamp;
      this.#withAfter[id] = this.#grow(merged, id);
    }
    return this.#withAfter[id]!;
  }

  /** The pair (left, right), new or not, noted as one that becomes more frequent. */
  #grow(left: number, right: number): number {
    const fresh = this.#left.length;
    const pair = this.#pairs.getOrSet(left, right, fresh);
    this.#grown.push(pair);
    if (pair !== fresh) return pair;
    this.#left.push(left);
    this.#right.push(right);
    this.#head.push(-1);
    if (pair === this.#counts.length) {
      const [counts, done] = [this.#counts, this.#done];
      this.#counts = new Float64Array(pair * 2);
      this.#counts.set(counts);
      this.#done = new Uint8Array(pair * 2);
      this.#done.set(done);
    }
    return pair;
  }

  #queueGrown(): void {
    for (let i = 0; i < this.#grown.length; i++) {
      const pair = this.#grown.at(i);
      const count = this.#counts[pair]!;
      if (count >= this.minFrequency) this.#heap.push(pair, this.#left.at(pair), this.#right.at(pair), count);
    }
    this.#grown.clear();
  }

  /** The token of the two together: a new one, unless another merge has made the same bytes already. */
  #idFor(left: number, right: number): number {
    const length = this.#lengths[left]! + this.#lengths[right]!;
    if (length > this.#scratch.length) this.#scratch = new Uint8Array(length * 2);
    const middle = this.#tokens.copyKey(this.#indexOf[left]!, this.#scratch, 0);
    this.#tokens.copyKey(this.#indexOf[right]!, this.#scratch, middle);
    const known = this.#tokens.find(this.#scratch, 0, length);
    return known >= 0 ? this.#tokenIds.at(known) : this.#name(this.#nextId++, this.#scratch, length);
  }

  #name(id: number, bytes: Uint8Array, length: number): number {
    this.#indexOf[id] = this.#tokens.add(bytes, 0, length);
    this.#tokenIds.push(id);
    this.#lengths[id] = length;
    return id;
  }
}
