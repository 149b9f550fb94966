/**
 * Places by rank. A heap holds the distinct ranks, and each rank has a linked list of places, which is sorted when its
 * turn comes if it was not filled from left to right. A rank's list is taken as a whole; if a place of that rank or of a
 * smaller one is pushed meanwhile, `interrupted` says so, and the rest of the list goes back.
 */
export class RankQueue {
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
