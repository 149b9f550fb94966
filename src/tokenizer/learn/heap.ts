/**
 * Pairs by count, the largest first; of equal counts the smallest (left, right) first. A binary heap in typed arrays,
 * with all that is compared in it, so that comparing stays within a few cache lines.
 */
export class PairHeap {
  /** The count that the pair last popped was pushed with. */
  count = 0;
  #counts = new Float64Array(1 << 12);
  #ties = new Float64Array(1 << 12); // left * 2^24 + right, exact in a double
  #pairs = new Int32Array(1 << 12);
  #size = 0;

  push(pair: number, left: number, right: number, count: number): void {
    if (this.#size === this.#pairs.length) this.#grow();
    const tie = left * 0x1000000 + right;
    let i = this.#size++;
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!this.#before(count, tie, up)) break;
      this.#move(up, i);
      i = up;
    }
    this.#put(i, count, tie, pair);
  }

  /** Takes the first pair out, or returns -1 when there is none; `count` then tells its count. */
  pop(): number {
    if (this.#size === 0) return -1;
    const top = this.#pairs[0]!;
    this.count = this.#counts[0]!;
    const size = --this.#size;
    const count = this.#counts[size]!;
    const tie = this.#ties[size]!;
    let i = 0;
    for (;;) {
      let down = 2 * i + 1;
      if (down >= size) break;
      if (down + 1 < size && this.#before(this.#counts[down + 1]!, this.#ties[down + 1]!, down)) down++;
      if (this.#before(count, tie, down)) break;
      this.#move(down, i);
      i = down;
    }
    this.#put(i, count, tie, this.#pairs[size]!);
    return top;
  }

  #before(count: number, tie: number, other: number): boolean {
    const counts = this.#counts[other]!;
    return count > counts || (count === counts && tie < this.#ties[other]!);
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#counts[from]!, this.#ties[from]!, this.#pairs[from]!);
  }

  #put(at: number, count: number, tie: number, pair: number): void {
    this.#counts[at] = count;
    this.#ties[at] = tie;
    this.#pairs[at] = pair;
  }

  #grow(): void {
    const [counts, ties, pairs] = [this.#counts, this.#ties, this.#pairs];
    this.#counts = new Float64Array(this.#size * 2);
    this.#ties = new Float64Array(this.#size * 2);
    this.#pairs = new Int32Array(this.#size * 2);
    this.#counts.set(counts);
    this.#ties.set(ties);
    this.#pairs.set(pairs);
  }
}
