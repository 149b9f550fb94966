/** A hash map from pairs of ids (left, right) to a small whole number; open addressing in one typed array. */
export class PairMap {
  #slots: Int32Array; // 3 per slot: left + 1 (0 = free), right, value
  #mask: number;
  #size = 0;

  constructor(expected = 256) {
    let capacity = 512;
    while (capacity < expected * 2) capacity *= 2;
    this.#slots = new Int32Array(capacity * 3);
    this.#mask = capacity - 1;
  }

  get size(): number {
    return this.#size;
  }

  /** The value of (left, right), or -1. */
  get(left: number, right: number): number {
    const slots = this.#slots;
    for (let slot = hashOf(left, right) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const at = slot * 3;
      const found = slots[at]!;
      if (found === 0) return -1;
      if (found === left + 1 && slots[at + 1] === right) return slots[at + 2]!;
    }
  }

  /** The value of (left, right); if it has none, it gets `value`, and that is returned. */
  getOrSet(left: number, right: number, value: number): number {
    const slots = this.#slots;
    for (let slot = hashOf(left, right) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const at = slot * 3;
      const found = slots[at]!;
      if (found === left + 1 && slots[at + 1] === right) return slots[at + 2]!;
      if (found !== 0) continue;
      slots[at] = left + 1;
      slots[at + 1] = right;
      slots[at + 2] = value;
      if (++this.#size * 2 > this.#mask) this.#grow();
      return value;
    }
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(old.length * 2);
    this.#mask = this.#slots.length / 3 - 1;
    for (let i = 0; i < old.length; i += 3) {
      if (old[i] === 0) continue;
      let slot = hashOf(old[i]! - 1, old[i + 1]!) & this.#mask;
      while (this.#slots[slot * 3] !== 0) slot = (slot + 1) & this.#mask;
      this.#slots.set(old.subarray(i, i + 3), slot * 3);
    }
  }
}

function hashOf(left: number, right: number): number {
  const hash = Math.imul(left, 0x9e3779b1 | 0) ^ Math.imul(right, 0x85ebca6b | 0);
  return hash ^ (hash >>> 15);
}
