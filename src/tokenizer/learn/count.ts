import { ByteMap } from '../bytemap.js';
import { Ends, type Splitter } from '../ends.js';

/** Texts as bytes: well-formed UTF-8 side by side, and where each ends. */
export interface Chunk {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly ends: Int32Array<ArrayBuffer>;
}

/** Pieces with how often each occurs: the keys side by side, where each starts ([n + 1]), and the counts ([n]). */
export interface Counts {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly starts: Uint32Array<ArrayBuffer>;
  readonly counts: Float64Array<ArrayBuffer>;
  /** Occurrences that were forgotten to stay under the memory limit. */
  readonly dropped: number;
}

/**
 * Counts the different pieces of text. Training needs only these: natural text has far fewer different pieces than pieces.
 * Counts are doubles, exact up to 2^53.
 */
export class PieceCounter {
  #map = new ByteMap();
  #counts = new Float64Array(1 << 8);
  #dropped = 0;
  readonly #ends = new Ends();

  /** `maxPiece`: longer pieces are cut there, between characters. `memoryLimit`: bytes this counter may hold. */
  constructor(
    readonly split: Splitter,
    readonly maxPiece: number,
    readonly memoryLimit: number,
  ) {}

  /** How many different pieces there are. */
  get size(): number {
    return this.#map.size;
  }

  /** Bytes of memory held. */
  get memory(): number {
    return this.#map.memory + this.#counts.byteLength;
  }

  /** Counts the pieces of each text. */
  count({ bytes, ends: texts }: Chunk): void {
    const ends = this.#ends;
    let start = 0;
    for (const stop of texts) {
      ends.clear();
      this.split(bytes, start, stop, ends);
      for (let p = 0, from = start; p < ends.length; p++) {
        const to = ends.at[p]!;
        if (to - from > this.maxPiece) this.#addLong(bytes, from, to);
        else if (to - from > 1) this.add(bytes, from, to, 1); // a single byte has no pairs
        from = to;
      }
      start = stop;
    }
    if (this.memory > this.memoryLimit) this.#forget();
  }

  /** Adds occurrences of one piece. */
  add(bytes: Uint8Array, from: number, to: number, times: number): void {
    const index = this.#map.add(bytes, from, to);
    if (index >= this.#counts.length) {
      const larger = new Float64Array(this.#counts.length * 2);
      larger.set(this.#counts);
      this.#counts = larger;
    }
    this.#counts[index]! += times;
  }

  /** Adds all that another counter found. */
  addAll({ bytes, starts, counts, dropped }: Counts): void {
    for (let i = 0; i < counts.length; i++) this.add(bytes, starts[i]!, starts[i + 1]!, counts[i]!);
    this.#dropped += dropped;
    if (this.memory > this.memoryLimit) this.#forget();
  }

  /** A copy of what was counted. */
  take(): Counts {
    const { bytes, starts } = this.#map.keys();
    const counts = this.#counts.slice(0, this.#map.size);
    return {
      bytes: bytes.slice() as Uint8Array<ArrayBuffer>,
      starts: starts.slice() as Uint32Array<ArrayBuffer>,
      counts,
      dropped: this.#dropped,
    };
  }

  #addLong(bytes: Uint8Array, from: number, to: number): void {
    let at = from;
    while (at < to) {
      let stop = Math.min(at + this.maxPiece, to);
      while (stop < to && (bytes[stop]! & 0xc0) === 0x80) stop--; // not inside a character
      if (stop - at > 1) this.add(bytes, at, stop, 1);
      at = stop;
    }
  }

  /** Forgets the rarer half of the pieces (more where many are equally rare). */
  #forget(): void {
    const old = this.take();
    const ordered = old.counts.slice().sort();
    const least = ordered[ordered.length >> 1] ?? 0;
    this.#map = new ByteMap();
    this.#counts = new Float64Array(1 << 8);
    for (let i = 0; i < old.counts.length; i++) {
      const times = old.counts[i]!;
      if (times > least) this.add(old.bytes, old.starts[i]!, old.starts[i + 1]!, times);
      else this.#dropped += times;
    }
  }
}
