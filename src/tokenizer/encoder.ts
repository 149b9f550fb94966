import { ByteMap } from './bytemap.js';
import { Ends, type Splitter } from './ends.js';
import { Merger, type MergeTable } from './merge.js';

/** Pieces up to this many bytes are remembered with their ids. */
const CACHED_PIECE = 64;
/** How many pieces are remembered; then all are forgotten. About 8 MB in all. */
const CACHED_PIECES = 1 << 17;
/** Room for a piece of this many symbols is kept for the next one; a longer piece gets its own. */
const KEPT_SYMBOLS = 1 << 16;

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

/** What encoding needs of a vocabulary. */
export interface EncoderTables {
  readonly split: Splitter;
  /** The id of each single byte, [256]. */
  readonly byteIds: Int32Array;
  readonly merges: MergeTable;
  /** Whole pieces that are tokens as they stand, without merging (`ignore_merges`, tiktoken): their ids by index. */
  readonly whole?: { readonly pieces: ByteMap; readonly ids: Int32Array };
}

/**
 * Bytes to ids: cut into pieces, merge each. Text repeats its pieces, so ids are remembered by piece; a piece that is one
 * token costs one look-up.
 */
export class Encoder {
  readonly #ends = new Ends();
  readonly #cache = new ByteMap();
  #cacheStart = new Int32Array(1 << 10); // [index] the id if >= 0, else ~start in #cacheIds of a count and its ids
  #cacheIds = new Int32Array(1 << 10);
  #cacheUsed = 0;
  #symbols = new Int32Array(256);
  readonly merger: Merger;

  constructor(readonly tables: EncoderTables) {
    this.merger = new Merger(tables.merges);
  }

  /** Appends the ids of `bytes[start, end)`, which must be well-formed UTF-8. */
  encode(bytes: Uint8Array, start: number, end: number, out: IdBuffer): void {
    const ends = this.#ends;
    ends.clear();
    this.tables.split(bytes, start, end, ends);
    const { at: list, length } = ends;
    const { byteIds } = this.tables;
    let from = start;
    for (let p = 0; p < length; p++) {
      const to = list[p]!;
      if (to - from === 1) out.push(byteIds[bytes[from]!]!);
      else if (to - from > CACHED_PIECE) this.#emit(this.#mergePiece(bytes, from, to), out);
      else this.#cached(bytes, from, to, out);
      from = to;
    }
  }

  #cached(bytes: Uint8Array, from: number, to: number, out: IdBuffer): void {
    const known = this.#cache.size;
    const index = this.#cache.add(bytes, from, to);
    if (index === known) this.#remember(index, this.#mergePiece(bytes, from, to));
    const entry = this.#cacheStart[index]!;
    if (entry >= 0) {
      out.push(entry);
    } else {
      const at = ~entry;
      const count = this.#cacheIds[at]!;
      out.reserve(count);
      for (let i = 1; i <= count; i++) out.ids[out.length++] = this.#cacheIds[at + i]!;
    }
    if (this.#cache.size === CACHED_PIECES) {
      this.#cache.clear();
      this.#cacheUsed = 0;
    }
  }

  /** Keeps the first `count` symbols as the ids of the piece with this index. */
  #remember(index: number, count: number): void {
    if (index >= this.#cacheStart.length) this.#cacheStart = larger(this.#cacheStart);
    if (count === 1) {
      this.#cacheStart[index] = this.#symbols[0]!;
      return;
    }
    const at = this.#cacheUsed;
    this.#cacheUsed += count + 1;
    while (this.#cacheUsed > this.#cacheIds.length) this.#cacheIds = larger(this.#cacheIds);
    this.#cacheStart[index] = ~at;
    this.#cacheIds[at] = count;
    for (let i = 0; i < count; i++) this.#cacheIds[at + 1 + i] = this.#symbols[i]!;
  }

  /** Leaves the ids of one piece in `#symbols` and returns how many there are. */
  #mergePiece(bytes: Uint8Array, from: number, to: number): number {
    const { byteIds, whole } = this.tables;
    if (whole) {
      const index = whole.pieces.find(bytes, from, to);
      if (index >= 0) {
        this.#symbols[0] = whole.ids[index]!;
        return 1;
      }
    }
    if (to - from > this.#symbols.length) this.#symbols = new Int32Array(Math.max(to - from, KEPT_SYMBOLS));
    for (let i = from; i < to; i++) this.#symbols[i - from] = byteIds[bytes[i]!]!;
    return this.merger.merge(this.#symbols, to - from);
  }

  #emit(count: number, out: IdBuffer): void {
    out.reserve(count);
    for (let i = 0; i < count; i++) out.ids[out.length++] = this.#symbols[i]!;
    if (this.#symbols.length > KEPT_SYMBOLS) this.#symbols = new Int32Array(256);
  }
}

function larger(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const out = new Int32Array(array.length * 2);
  out.set(array);
  return out;
}
