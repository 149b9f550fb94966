import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { TrainMoeError } from '../../errors.js';
import { lastNotAbove } from '../search.js';
import type { CollectReport, SplitName } from '../types.js';
import { type BlockReader, createBlockReader } from './blocks.js';
import { type Manifest, readManifest, type ShardInfo, TOKEN_BYTES } from './format.js';

/** All documents of one split end to end, with random access. Each document holds its BOS and EOS, if any. */
export interface TokenStream {
  /** Names the ids: the same for the same shards, wherever their texts lie. */
  readonly fingerprint: string;
  readonly tokens: number;
  readonly documents: number;
  /** UTF-8 bytes of the texts. */
  readonly bytes: number;
  readonly vocabSize: number;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  /** [vocabSize] UTF-8 bytes of each id (0 for special tokens), when the tokenizer told. */
  readonly tokenBytes: Uint32Array | undefined;
  /** Copies tokens `start` .. `start + count - 1` to `out` at `at`. Throws `bad-data` for an id outside the vocabulary. */
  read(start: number, count: number, out: Int32Array, at?: number): void;
  /** Position of the first token of a document; of `documents`, the end of the stream. */
  documentStart(document: number): number;
  /** The document that holds the token at `position`. */
  documentAt(position: number): number;
  /** The ids of one document. */
  document(document: number): Int32Array;
}

/** The tokens of a corpus, cut into splits. */
export interface TokenSet {
  readonly folder: string;
  readonly key: string;
  readonly tokenizer: string;
  readonly vocabSize: number;
  /** What was seen while the corpus was read. */
  readonly report: CollectReport;
  split(name: SplitName): TokenStream;
}

/** How shards are opened. */
export interface OpenOptions {
  /** Memory for blocks read from disk, per split. Default 64 MiB. */
  readonly cacheBytes?: number;
  /** Also compare each shard with its checksum, which reads everything once. Default false. */
  readonly verify?: boolean;
}

/**
 * Opens a folder of token shards. Throws `not-found` when there is none or it was not finished, `bad-data` when a shard
 * does not have the size (or, with `verify`, the checksum) that the manifest says.
 */
export function openTokens(folder: string, options: OpenOptions = {}): TokenSet {
  const manifest = readManifest(folder);
  if (!manifest?.complete) {
    const state = manifest === undefined ? 'holds no token shards' : 'holds token shards that were not finished';
    throw new TrainMoeError('not-found', `${folder} ${state}; tokenise the corpus (again) to make them.`);
  }
  return openManifest(folder, manifest, options);
}

/** Opens the shards that a manifest names, whatever the manifest on disk says by now. */
export function openManifest(folder: string, manifest: Manifest, options: OpenOptions = {}): TokenSet {
  const tokenBytes = manifest.hasTokenBytes ? readTokenBytes(folder, manifest) : undefined;
  for (const shard of Object.values(manifest.splits).flat())
    checkShard(folder, shard, manifest, options.verify === true);
  return {
    folder,
    key: manifest.key,
    tokenizer: manifest.tokenizer,
    vocabSize: manifest.vocabSize,
    report: manifest.report,
    split: (name) => openStream(folder, manifest, manifest.splits[name], tokenBytes, options.cacheBytes),
  };
}

function readTokenBytes(folder: string, { vocabSize }: Manifest): Uint32Array {
  const file = path.join(folder, TOKEN_BYTES);
  checkSize(file, 4 * vocabSize);
  return new Uint32Array(Uint8Array.from(readFileSync(file)).buffer);
}

const BYTES_PER_START = 4;

function checkShard(folder: string, shard: ShardInfo, { bytesPerId }: Manifest, verify: boolean): void {
  const file = path.join(folder, `${shard.name}.ids`);
  checkSize(file, shard.tokens * bytesPerId);
  checkSize(path.join(folder, `${shard.name}.docs`), (shard.documents + 1) * BYTES_PER_START);
  if (verify && createHash('sha256').update(readFileSync(file)).digest('hex') !== shard.sha256) {
    throw new TrainMoeError('bad-data', `${file} does not have its checksum; delete ${folder} to make it anew.`);
  }
}

function checkSize(file: string, expected: number): void {
  const size = statSync(file, { throwIfNoEntry: false })?.size;
  if (size === expected) return;
  const found = size === undefined ? 'is missing' : `has ${size} bytes`;
  throw new TrainMoeError(
    'bad-data',
    `${file} ${found}, but the manifest says ${expected} bytes; delete ${path.dirname(file)} to make it anew.`,
  );
}

/** A shard with the place of its first token and document in the stream. */
interface Placed extends ShardInfo {
  readonly ids: string;
  readonly docs: string;
  readonly firstToken: number;
  readonly firstDocument: number;
}

function placeShards(folder: string, shards: readonly ShardInfo[]): Placed[] {
  let firstToken = 0;
  let firstDocument = 0;
  return shards.map((shard) => {
    const base = path.join(folder, shard.name);
    const placed = { ...shard, ids: `${base}.ids`, docs: `${base}.docs`, firstToken, firstDocument };
    firstToken += shard.tokens;
    firstDocument += shard.documents;
    return placed;
  });
}

function openStream(
  folder: string,
  manifest: Manifest,
  shards: readonly ShardInfo[],
  tokenBytes: Uint32Array | undefined,
  cacheBytes: number | undefined,
): TokenStream {
  const placed = placeShards(folder, shards);
  const blocks = createBlockReader(cacheBytes);
  const last = placed[placed.length - 1];
  const tokens = last === undefined ? 0 : last.firstToken + last.tokens;
  const documents = last === undefined ? 0 : last.firstDocument + last.documents;
  const inRange = (value: number, limit: number, what: string): void => {
    if (Number.isInteger(value) && value >= 0 && value <= limit) return;
    throw new TrainMoeError('bad-argument', `${what} ${value} is outside 0 .. ${limit} of ${folder}.`);
  };
  const read: TokenStream['read'] = (start, count, out, at = 0) => {
    inRange(start, tokens, 'token position');
    inRange(start + count, tokens, 'token position');
    let position = start;
    while (position < start + count) {
      const shard = placed[lastNotAbove(placed.length, (i) => placed[i]!.firstToken, position)]!;
      const n = Math.min(start + count, shard.firstToken + shard.tokens) - position;
      readIds(blocks, shard.ids, manifest, position - shard.firstToken, n, out, at + position - start);
      position += n;
    }
  };
  const documentStart = (document: number): number => {
    inRange(document, documents, 'document');
    if (document === documents) return tokens;
    const shard = placed[lastNotAbove(placed.length, (i) => placed[i]!.firstDocument, document)]!;
    return shard.firstToken + readStart(blocks, shard, document - shard.firstDocument);
  };
  return {
    fingerprint: createHash('sha256')
      .update(JSON.stringify(shards.map(({ tokens, sha256 }) => [tokens, sha256])))
      .digest('hex'),
    tokens,
    documents,
    bytes: placed.reduce((sum, shard) => sum + shard.bytes, 0),
    vocabSize: manifest.vocabSize,
    bosId: manifest.bosId ?? undefined,
    eosId: manifest.eosId ?? undefined,
    tokenBytes,
    read,
    documentStart,
    documentAt(position) {
      inRange(position, tokens - 1, 'token position');
      const shard = placed[lastNotAbove(placed.length, (i) => placed[i]!.firstToken, position)]!;
      const wanted = position - shard.firstToken;
      return shard.firstDocument + lastNotAbove(shard.documents, (i) => readStart(blocks, shard, i), wanted);
    },
    document(document) {
      inRange(document, documents - 1, 'document');
      const start = documentStart(document);
      const ids = new Int32Array(documentStart(document + 1) - start);
      read(start, ids.length, ids);
      return ids;
    },
  };
}

function readStart(blocks: BlockReader, shard: Placed, document: number): number {
  const offset = document * BYTES_PER_START;
  const block = new Uint32Array(blocks.block(shard.docs, offset));
  return block[(offset % blocks.blockBytes) / BYTES_PER_START]!;
}

/** Ids index into the embedding without a further check, so a damaged one must not leave this function. */
function readIds(
  blocks: BlockReader,
  file: string,
  { bytesPerId, vocabSize }: Manifest,
  start: number,
  count: number,
  out: Int32Array,
  at: number,
): void {
  const perBlock = blocks.blockBytes / bytesPerId;
  let done = 0;
  while (done < count) {
    const buffer = blocks.block(file, (start + done) * bytesPerId);
    const ids = bytesPerId === 2 ? new Uint16Array(buffer) : new Uint32Array(buffer);
    const first = (start + done) % perBlock;
    const n = Math.min(count - done, perBlock - first);
    for (let i = 0; i < n; i++) {
      const id = ids[first + i]!;
      if (id >= vocabSize) {
        const place = `${file} holds the id ${id} at position ${start + done + i}`;
        throw new TrainMoeError('bad-data', `${place}, but the vocabulary has ${vocabSize}; the file is damaged.`);
      }
      out[at + done + i] = id;
    }
    done += n;
  }
}
