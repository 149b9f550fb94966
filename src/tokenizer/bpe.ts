import type { ByteMap } from './bytemap.js';
import type { IdBuffer, PieceModel } from './encoder.js';
import { Merger, type MergeTable } from './merge.js';

/** Room for a piece of this many symbols is kept for the next one; a longer piece gets its own. */
const KEPT_SYMBOLS = 1 << 16;

/** What byte-level BPE needs of a vocabulary. */
export interface BpeTables {
  /** The id of each single byte, [256]. */
  readonly byteIds: Int32Array;
  readonly merges: MergeTable;
  /** Whole pieces that are tokens as they stand, without merging (`ignore_merges`, tiktoken): their ids by index. */
  readonly whole?: { readonly pieces: ByteMap; readonly ids: Int32Array };
}

/** Byte-level BPE: the bytes of a piece, merged by rank. */
export function bpe({ byteIds, merges, whole }: BpeTables): PieceModel {
  const merger = new Merger(merges);
  let symbols = new Int32Array(256);
  return {
    byteIds,
    encode(bytes: Uint8Array, from: number, to: number, out: IdBuffer): void {
      const index = whole ? whole.pieces.find(bytes, from, to) : -1;
      if (index >= 0) {
        out.push(whole!.ids[index]!);
        return;
      }
      if (to - from > symbols.length) symbols = new Int32Array(Math.max(to - from, KEPT_SYMBOLS));
      for (let i = from; i < to; i++) symbols[i - from] = byteIds[bytes[i]!]!;
      const count = merger.merge(symbols, to - from);
      out.reserve(count);
      for (let i = 0; i < count; i++) out.ids[out.length++] = symbols[i]!;
      if (symbols.length > KEPT_SYMBOLS) symbols = new Int32Array(256);
    },
  };
}
