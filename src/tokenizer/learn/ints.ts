/** A growing list of 32-bit integers. */
export class Ints {
  #items: Int32Array;
  length = 0;

  /** Makes room for so many to begin with. */
  constructor(capacity = 1 << 10) {
    this.#items = new Int32Array(Math.max(capacity, 1));
  }

  at(index: number): number {
    return this.#items[index]!;
  }

  set(index: number, value: number): void {
    this.#items[index] = value;
  }

  /** Appends a value and returns its index. */
  push(value: number): number {
    if (this.length === this.#items.length) {
      const larger = new Int32Array(this.length * 2);
      larger.set(this.#items);
      this.#items = larger;
    }
    this.#items[this.length] = value;
    return this.length++;
  }

  clear(): void {
    this.length = 0;
  }

  /** A copy. */
  take(): Int32Array {
    return this.#items.slice(0, this.length);
  }
}
