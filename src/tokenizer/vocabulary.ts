import { TrainMoeError } from '../errors.js';
import { ByteMap } from './bytemap.js';

/** Ids beyond this are taken for damage: no vocabulary comes near, and tables are as long as the largest id. */
export const LARGEST_ID = (1 << 24) - 1;

/** The bytes of every token by id, in one arena. Ids without a token are allowed and have no bytes. */
export interface Vocabulary {
  /** One more than the largest id. */
  readonly size: number;
  /** The bytes of all tokens, one after the other. */
  readonly arena: Uint8Array;
  /** [size + 1] where each token starts in the arena. */
  readonly starts: Uint32Array;
}

/** Puts tokens into a table. Throws a `TrainMoeError` on an id that is no id or that two tokens share. */
export function vocabularyOf(tokens: Iterable<readonly [id: number, bytes: Uint8Array]>, where: string): Vocabulary {
  const byId: (Uint8Array | undefined)[] = [];
  let total = 0;
  for (const [id, bytes] of tokens) {
    if (!Number.isInteger(id) || id < 0 || id > LARGEST_ID) {
      throw new TrainMoeError(
        'bad-data',
        `${where}: ${quote(bytes)} has id ${id}, expected a whole number from 0 to ${LARGEST_ID}.`,
      );
    }
    const other = byId[id];
    if (other && !Buffer.from(other).equals(bytes)) {
      throw new TrainMoeError(
        'bad-data',
        `${where}: id ${id} belongs to two tokens, ${quote(other)} and ${quote(bytes)}.`,
      );
    }
    if (!other) total += bytes.length;
    byId[id] = bytes;
  }
  const arena = new Uint8Array(total);
  const starts = new Uint32Array(byId.length + 1);
  let at = 0;
  for (let id = 0; id < byId.length; id++) {
    starts[id] = at;
    const bytes = byId[id];
    if (bytes) arena.set(bytes, at);
    at += bytes?.length ?? 0;
  }
  starts[byId.length] = at;
  return { size: byId.length, arena, starts };
}

/** The bytes of a token; a view. Empty for an id without a token. */
export function tokenBytes(vocabulary: Vocabulary, id: number): Uint8Array {
  return vocabulary.arena.subarray(vocabulary.starts[id]!, vocabulary.starts[id + 1]!);
}

/** An index from bytes to id over the tokens that `include` lets in; of equal tokens the smallest id counts. */
export function indexOf(
  vocabulary: Vocabulary,
  include: (id: number) => boolean,
): { pieces: ByteMap; ids: Int32Array } {
  const pieces = new ByteMap();
  const ids = new Int32Array(vocabulary.size);
  for (let id = 0; id < vocabulary.size; id++) {
    const from = vocabulary.starts[id]!;
    const to = vocabulary.starts[id + 1]!;
    if (from === to || !include(id)) continue;
    const known = pieces.size;
    if (pieces.add(vocabulary.arena, from, to) === known) ids[known] = id;
  }
  return { pieces, ids };
}

/** The id of each single byte, [256]. Throws a `TrainMoeError` if a byte that UTF-8 uses has none. */
export function byteIdsOf(vocabulary: Vocabulary, include: (id: number) => boolean, where: string): Int32Array {
  const out = new Int32Array(256).fill(-1);
  for (let id = vocabulary.size - 1; id >= 0; id--) {
    const from = vocabulary.starts[id]!;
    if (vocabulary.starts[id + 1]! - from === 1 && include(id)) out[vocabulary.arena[from]!] = id;
  }
  const used = (byte: number) => byte < 0xc0 || (byte >= 0xc2 && byte <= 0xf4);
  const missing = Array.from(out.keys()).filter((byte) => used(byte) && out[byte] === -1);
  if (missing.length > 0) {
    throw new TrainMoeError(
      'bad-data',
      `${where}: no token for ${missing.length} of the single bytes (the first is ${missing[0]}); a byte-level vocabulary has one for each.`,
    );
  }
  return out;
}

function quote(bytes: Uint8Array): string {
  return JSON.stringify(Buffer.from(bytes).toString('utf8'));
}
