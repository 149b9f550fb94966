import type { Chunk } from './count.js';

/** A chunk is given out once it has this many bytes. */
const CHUNK_BYTES = 1 << 20;

/** Gathers texts, as UTF-8, into chunks of about a megabyte. Lone surrogates become U+FFFD. */
export class ChunkWriter {
  readonly #utf8 = new TextEncoder();
  #bytes = new Uint8Array(CHUNK_BYTES * 2);
  #used = 0;
  #ends: number[] = [];

  /** Adds a text; returns a chunk when one is full. */
  add(text: string): Chunk | undefined {
    this.#reserve(text);
    this.#used += this.#utf8.encodeInto(text, this.#bytes.subarray(this.#used)).written;
    this.#ends.push(this.#used);
    return this.#used >= CHUNK_BYTES ? this.take() : undefined;
  }

  /** What was gathered since the last chunk. */
  take(): Chunk {
    const chunk = { bytes: this.#bytes.subarray(0, this.#used), ends: Int32Array.from(this.#ends) };
    this.#bytes = new Uint8Array(CHUNK_BYTES * 2);
    this.#used = 0;
    this.#ends = [];
    return chunk;
  }

  #reserve(text: string): void {
    if (this.#bytes.length - this.#used >= text.length * 3) return;
    const needed = this.#used + Buffer.byteLength(text);
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(needed);
    larger.set(this.#bytes.subarray(0, this.#used));
    this.#bytes = larger;
  }
}
