import { ByteMap } from './bytemap.js';
import { classAt } from './classes.js';
import { Ends, type Splitter } from './ends.js';

/** Pieces up to this many bytes are remembered with their ids. */
const CACHED_PIECE = 64;
/** How many pieces are remembered; then all are forgotten. About 8 MB in all. */
const CACHED_PIECES = 1 << 17;

/** A growing list of ids. */
export class IdBuffer {
  ids = new Uint32Array(1024);
  length = 0;

  /** Makes room for `count` more. */
  reserve(count: number): void {
    if (this.length + count <= this.ids.length) return;
    const larger = new Uint32Array(Math.max(this.length + count, this.ids.length * 2));
    larger.set(this.ids.subarray(0, this.length));
    this.ids = larger;
  }

  push(id: number): void {
    if (this.length === this.ids.length) this.reserve(1);
    this.ids[this.length++] = id;
  }

  /** A copy of what was pushed. */
  take(): Uint32Array {
    return this.ids.slice(0, this.length);
  }
}

/** Turns one piece of text into ids: BPE, WordPiece or Unigram. */
export interface PieceModel {
  /** Appends the ids of `bytes[from, to)`, well-formed UTF-8. */
  encode(bytes: Uint8Array, from: number, to: number, out: IdBuffer): void;
  /** [256] the id of a piece of one byte, where it is known without looking further. */
  readonly byteIds?: Int32Array;
}

/**
 * Bytes to ids: cut into pieces, each turned into ids by the model. Text repeats its pieces, so ids are remembered by piece; a
 * piece that is one token costs one look-up.
 */
export class Encoder {
  readonly #ends = new Ends();
  readonly #cache = new ByteMap();
  #cacheStart = new Int32Array(1 << 10); // [index] the id if >= 0, else ~start in #cacheIds of a count and its ids
  #cacheIds = new Int32Array(1 << 10);
  #cacheUsed = 0;

  /** @param drops classes (`classes.ts`) of characters with which pieces begin that have no ids */
  constructor(
    readonly split: Splitter,
    readonly model: PieceModel,
    readonly drops = 0,
  ) {}

  /** Appends the ids of `bytes[start, end)`, which must be well-formed UTF-8. */
  encode(bytes: Uint8Array, start: number, end: number, out: IdBuffer): void {
    const ends = this.#ends;
    ends.clear();
    this.split(bytes, start, end, ends);
    const { at: list, length } = ends;
    const { model, drops } = this;
    const { byteIds } = model;
    let from = start;
    for (let p = 0; p < length; p++) {
      const to = list[p]!;
      if (byteIds && to - from === 1) out.push(byteIds[bytes[from]!]!);
      else if (drops === 0 || (classAt(bytes, from, to) & drops) === 0) {
        if (to - from > CACHED_PIECE) model.encode(bytes, from, to, out);
        else this.#cached(bytes, from, to, out);
      }
      from = to;
    }
  }

  #cached(bytes: Uint8Array, from: number, to: number, out: IdBuffer): void {
    const known = this.#cache.size;
    const index = this.#cache.add(bytes, from, to);
    if (index === known) {
      const first = out.length;
      this.model.encode(bytes, from, to, out);
      this.#remember(index, out, first);
      return;
    }
    const entry = this.#cacheStart[index]!;
    if (entry >= 0) {
      out.push(entry);
      return;
    }
    const at = ~entry;
    const count = this.#cacheIds[at]!;
    out.reserve(count);
    for (let i = 1; i <= count; i++) out.ids[out.length++] = this.#cacheIds[at + i]!;
  }

  /** Keeps what was appended from `first` on as the ids of the piece with this index. */
  #remember(index: number, { ids, length }: IdBuffer, first: number): void {
    if (index >= this.#cacheStart.length) this.#cacheStart = larger(this.#cacheStart);
    const count = length - first;
    if (count === 1) this.#cacheStart[index] = ids[first]!;
    else {
      const at = this.#cacheUsed;
      this.#cacheUsed += count + 1;
      while (this.#cacheUsed > this.#cacheIds.length) this.#cacheIds = larger(this.#cacheIds);
      this.#cacheStart[index] = ~at;
      this.#cacheIds[at] = count;
      for (let i = 0; i < count; i++) this.#cacheIds[at + 1 + i] = ids[first + i]!;
    }
    if (this.#cache.size === CACHED_PIECES) {
      this.#cache.clear();
      this.#cacheUsed = 0;
    }
  }
}

function larger(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const out = new Int32Array(array.length * 2);
  out.set(array);
  return out;
}
