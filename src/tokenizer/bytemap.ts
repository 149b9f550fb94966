/**
 * A hash map from byte strings to consecutive indices 0, 1, 2, ... in order of insertion. Open addressing over typed
 * arrays, keys side by side in one arena: no object per key, nothing for the collector to walk.
 */
export class ByteMap {
  #arena = new Uint8Array(1 << 12);
  #starts = new Uint32Array(1 << 8); // [size + 1] where each key starts in the arena
  #slots = new Int32Array(1 << 9); // 2 per slot: hash, index + 1 (0 = free)
  #mask = (1 << 8) - 1;
  #size = 0;

  /** How many keys there are. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of memory held, without what callers keep per index. */
  get memory(): number {
    return this.#arena.length + this.#starts.byteLength + this.#slots.byteLength;
  }

  /** The index of the key `bytes[start, end)`, or -1. */
  find(bytes: Uint8Array, start: number, end: number): number {
    return this.#probe(bytes, start, end, hashOf(bytes, start, end));
  }

  /** The index of the key `bytes[start, end)`, added if it is new (then it equals the `size` before the call). */
  add(bytes: Uint8Array, start: number, end: number): number {
    const hash = hashOf(bytes, start, end);
    const found = this.#probe(bytes, start, end, hash);
    if (found >= 0) return found;
    const index = this.#size;
    if ((index + 1) * 2 > this.#mask) this.#growSlots();
    this.#store(bytes, start, end);
    this.#place(hash, index);
    return index;
  }

  /** The key with this index. A view: valid until the next `add` or `clear`. */
  key(index: number): Uint8Array {
    return this.#arena.subarray(this.#starts[index]!, this.#starts[index + 1]!);
  }

  /** Copies the key with this index to `out` at `at` and returns where it ends there. */
  copyKey(index: number, out: Uint8Array, at: number): number {
    let to = at;
    for (let i = this.#starts[index]!; i < this.#starts[index + 1]!; i++) out[to++] = this.#arena[i]!;
    return to;
  }

  /** All keys side by side, and where each starts, [size + 1]. Views, as with `key`. */
  keys(): { readonly bytes: Uint8Array; readonly starts: Uint32Array } {
    const starts = this.#starts.subarray(0, this.#size + 1);
    return { bytes: this.#arena.subarray(0, starts[this.#size]!), starts };
  }

  /** Forgets all keys, keeps the memory. */
  clear(): void {
    this.#slots.fill(0);
    this.#size = 0;
  }

  #probe(bytes: Uint8Array, start: number, end: number, hash: number): number {
    const slots = this.#slots;
    const mask = this.#mask;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const index = slots[slot * 2 + 1]! - 1;
      if (index < 0) return -1;
      if (slots[slot * 2] === hash && this.#equals(index, bytes, start, end)) return index;
    }
  }

  #equals(index: number, bytes: Uint8Array, start: number, end: number): boolean {
    const from = this.#starts[index]!;
    if (this.#starts[index + 1]! - from !== end - start) return false;
    const arena = this.#arena;
    for (let i = start, j = from; i < end; i++, j++) if (arena[j] !== bytes[i]) return false;
    return true;
  }

  #store(bytes: Uint8Array, start: number, end: number): void {
    const index = this.#size++;
    const from = index === 0 ? 0 : this.#starts[index]!;
    const to = from + end - start;
    if (to > this.#arena.length) {
      const larger = new Uint8Array(Math.max(to, this.#arena.length * 2));
      larger.set(this.#arena);
      this.#arena = larger;
    }
    if (index + 1 >= this.#starts.length) {
      const larger = new Uint32Array(this.#starts.length * 2);
      larger.set(this.#starts);
      this.#starts = larger;
    }
    for (let i = start, j = from; i < end; i++, j++) this.#arena[j] = bytes[i]!;
    this.#starts[index + 1] = to;
  }

  #place(hash: number, index: number): void {
    let slot = hash & this.#mask;
    while (this.#slots[slot * 2 + 1] !== 0) slot = (slot + 1) & this.#mask;
    this.#slots[slot * 2] = hash;
    this.#slots[slot * 2 + 1] = index + 1;
  }

  #growSlots(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(old.length * 2);
    this.#mask = this.#slots.length / 2 - 1;
    for (let i = 0; i < old.length; i += 2) if (old[i + 1] !== 0) this.#place(old[i]!, old[i + 1]! - 1);
  }
}

/** A multiplicative hash of `bytes[start, end)`; all of its bits, the low ones too, depend on every byte. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = end - start;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return hash ^ (hash >>> 13);
}
