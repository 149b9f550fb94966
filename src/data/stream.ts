import type { TokenStream } from './shards/read.js';

/** One epoch's tokens in their fixed order, from which windows are cut. */
export interface EpochStream {
  readonly tokens: number;
  /** Copies tokens `start` .. `start + count - 1` to `out` at `at`. */
  read(start: number, count: number, out: Int32Array, at: number): void;
  /** The positions in [start, end) where documents begin, ascending. */
  documentStarts(start: number, end: number): Iterable<number>;
}

/** The documents as they are on disk. */
export function plainStream(base: TokenStream): EpochStream {
  return {
    tokens: base.tokens,
    read: base.read,
    *documentStarts(start, end) {
      if (start >= end) return;
      for (let document = base.documentAt(start); document < base.documents; document++) {
        const position = base.documentStart(document);
        if (position >= end) return;
        if (position >= start) yield position;
      }
    },
  };
}
