import { closeSync, openSync, readSync } from 'node:fs';
import { TrainMoeError } from '../../errors.js';

const BLOCK_BYTES = 1 << 16;

/** Default memory for the blocks of one token set: 64 MiB. */
export const DEFAULT_CACHE_BYTES = 1 << 26;

/** Reads parts of files through a least-recently-used cache of fixed blocks, so memory does not grow with the files. */
export interface BlockReader {
  /** The block that holds byte `offset`, its file offset being `offset - offset % blockBytes`. */
  block(file: string, offset: number): ArrayBuffer;
  readonly blockBytes: number;
}

export function createBlockReader(cacheBytes = DEFAULT_CACHE_BYTES): BlockReader {
  const capacity = Math.max(1, Math.floor(cacheBytes / BLOCK_BYTES));
  // A Map iterates in order of insertion: the first key is the one unused for longest.
  const blocks = new Map<string, ArrayBuffer>();
  return {
    blockBytes: BLOCK_BYTES,
    block(file, offset) {
      const number = Math.floor(offset / BLOCK_BYTES);
      const key = `${number}:${file}`;
      let block = blocks.get(key);
      if (block !== undefined) blocks.delete(key);
      else {
        block = readBlock(file, number * BLOCK_BYTES);
        if (blocks.size >= capacity) blocks.delete(blocks.keys().next().value!);
      }
      blocks.set(key, block);
      return block;
    },
  };
}

/** Opened for each block: with thousands of shards, open descriptors would run out before memory does. */
function readBlock(file: string, offset: number): ArrayBuffer {
  const bytes = new Uint8Array(BLOCK_BYTES);
  const handle = openSync(file, 'r');
  try {
    let filled = 0;
    while (filled < BLOCK_BYTES) {
      const n = readSync(handle, bytes, filled, BLOCK_BYTES - filled, offset + filled);
      if (n === 0) break;
      filled += n;
    }
    if (filled === 0) throw new TrainMoeError('bad-data', `${file} ends before byte ${offset}; it was cut short.`);
  } finally {
    closeSync(handle);
  }
  return bytes.buffer;
}
