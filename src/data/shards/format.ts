import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { TrainMoeError } from '../../errors.js';
import { ioError } from '../../hub/io_error.js';
import type { CollectReport } from '../types.js';

/**
 * A token folder holds
 * - `manifest.json`: everything below, and how far the work got
 * - `<split>-<number>.ids`: the ids of the shard's documents end to end, uint16 or uint32, little endian
 * - `<split>-<number>.docs`: where each document starts in the shard and, last, where the last one ends: uint32 each
 * - `token_bytes.u32`: UTF-8 bytes of each id of the vocabulary (0 for special tokens), when the tokenizer tells
 */
export const FORMAT_VERSION = 1;
export const MANIFEST = 'manifest.json';
export const TOKEN_BYTES = 'token_bytes.u32';

const count = z.number().int().nonnegative();
const shard = z.object({
  name: z.string().regex(/^(train|validation|test)-\d+$/),
  documents: count,
  tokens: count,
  /** UTF-8 bytes of the texts. */
  bytes: count,
  /** SHA-256 of the `.ids` file. */
  sha256: z.string(),
});
const splitName = z.enum(['train', 'validation', 'test']);
const manifest = z.object({
  format: z.literal('train-moe tokens'),
  version: z.literal(FORMAT_VERSION),
  key: z.string(),
  complete: z.boolean(),
  /** Documents of the corpus that are in the shards (or hold no token). */
  documentsRead: count,
  tokenizer: z.string(),
  vocabSize: count,
  bytesPerId: z.union([z.literal(2), z.literal(4)]),
  /** The ids that every document starts and ends with, or null. */
  bosId: count.nullable(),
  eosId: count.nullable(),
  hasTokenBytes: z.boolean(),
  splits: z.object({ train: z.array(shard), validation: z.array(shard), test: z.array(shard) }),
  /** Training documents, by split position, that fill a split the fractions left empty. */
  moved: z.array(z.tuple([z.number(), splitName])),
  report: z.custom<CollectReport>((value) => typeof value === 'object' && value !== null),
});

export type Manifest = z.infer<typeof manifest>;
export type ShardInfo = z.infer<typeof shard>;

/** The manifest of a token folder, or undefined when there is none. Throws `bad-data` when it cannot be used. */
export function readManifest(folder: string): Manifest | undefined {
  const file = path.join(folder, MANIFEST);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return manifest.parse(JSON.parse(text));
  } catch (error) {
    throw new TrainMoeError('bad-data', `${file} is damaged or of another version; delete ${folder} to make it anew.`, {
      cause: error,
    });
  }
}

/**
 * Writes a file so that it is there whole or not at all, also after a power cut. The temporary name holds the process
 * id: two processes that make the same folder write equal bytes and do not disturb each other.
 * @throws TrainMoeError naming the file and the reason, a full disk for one
 */
export function writeWhole(file: string, bytes: Uint8Array): void {
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    const handle = openSync(temporary, 'w');
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(handle, bytes, at);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(temporary, file);
    syncFolder(path.dirname(file));
  } catch (cause) {
    if (existsSync(temporary)) rmSync(temporary);
    throw ioError('write', file, cause);
  }
}

function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

export function writeManifest(folder: string, value: Manifest): void {
  writeWhole(path.join(folder, MANIFEST), Buffer.from(`${JSON.stringify(value, undefined, 1)}\n`));
}
