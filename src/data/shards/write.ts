import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { TrainMoeError } from '../../errors.js';
import type { Collection } from '../collect/index.js';
import { emptyReport } from '../collect/report.js';
import { contentHash } from '../hash.js';
import { checkFractions, DEFAULT_FRACTIONS, type SplitFractions, splitAt, splitPosition } from '../split.js';
import type { DataTokenizer } from '../types.js';
import { newDrafts, SPLITS, writeDrafts } from './drafts.js';
import { FORMAT_VERSION, type Manifest, readManifest, TOKEN_BYTES, writeManifest, writeWhole } from './format.js';
import { cacheKey } from './key.js';
import { openManifest, type TokenSet } from './read.js';

/** How far tokenising has come. */
export interface TokenizeProgress {
  /** Documents and UTF-8 bytes read so far, tokens made so far (without those of an earlier, interrupted run). */
  readonly documents: number;
  readonly bytes: number;
  readonly tokens: number;
}

/** How a corpus becomes shards of tokens. */
export interface TokenizeOptions {
  /** Folder that holds one folder per corpus, tokenizer and settings. */
  readonly cacheDir: string;
  /** Default: 1 % validation, no test. */
  readonly fractions?: SplitFractions;
  /** End every document with the tokenizer's `eosId`. Default true. */
  readonly eos?: boolean;
  /** Start every document with the tokenizer's `bosId`. Default false. */
  readonly bos?: boolean;
  /** Ids per shard, all splits together: what is held in memory, and what a kill may cost. Default 2^24. */
  readonly shardTokens?: number;
  /** Called about every MiB of text. */
  readonly onProgress?: (progress: TokenizeProgress) => void;
}

const SHARD_TOKENS = 1 << 24;
const PROGRESS_BYTES = 1 << 20;

/**
 * The corpus as token shards: opened from the cache when they are there, made otherwise. Interrupted work goes on after
 * the last shard on disk: the corpus is read again up to there, but not tokenised again.
 *
 * A split that should have documents but got none (a small corpus) takes the training document with the lowest split
 * position, as long as one is left to train on.
 * Throws `bad-config` for impossible fractions and when `eos` or `bos` is asked of a tokenizer without that id, and
 * whatever reading the corpus throws.
 */
export async function tokenize(
  collection: Collection,
  tokenizer: DataTokenizer,
  options: TokenizeOptions,
): Promise<TokenSet> {
  const { fractions = DEFAULT_FRACTIONS, shardTokens = SHARD_TOKENS, onProgress } = options;
  checkFractions(fractions);
  const bosId = options.bos ? specialId(tokenizer.bosId, 'bos') : null;
  const eosId = options.eos === false ? null : specialId(tokenizer.eosId, 'eos');
  const { recipe, files } = collection;
  const { fingerprint, vocabSize } = tokenizer;
  const key = cacheKey(files, {
    version: FORMAT_VERSION,
    recipe,
    fingerprint,
    vocabSize,
    bosId,
    eosId,
    fractions: [fractions.validation, fractions.test],
    shardTokens,
    bytes: tokenizer.byteLength !== undefined,
  });
  const folder = path.join(options.cacheDir, key);
  mkdirSync(folder, { recursive: true });
  let manifest = readManifest(folder) ?? freshManifest(key, tokenizer, bosId, eosId);
  if (!manifest.complete) {
    removeLeftovers(folder);
    writeTokenBytes(folder, tokenizer);
    const job: Job = { folder, collection, tokenizer, fractions, shardTokens, onProgress };
    const { lowest, done } = await writeShards(job, manifest);
    manifest = done;
    const moved = documentsToMove(manifest, fractions, lowest);
    if (moved.length > 0) {
      manifest = (await writeShards(job, { ...freshManifest(key, tokenizer, bosId, eosId), moved })).done;
    }
    manifest = { ...manifest, complete: true };
    writeManifest(folder, manifest);
  }
  // Not read from disk again: another process may be making the same shards and stand at an earlier one.
  return openManifest(folder, manifest);
}

/** Removes the temporary files of processes that are no more. */
function removeLeftovers(folder: string): void {
  for (const name of readdirSync(folder)) {
    const pid = /\.(\d+)\.tmp$/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(path.join(folder, name), { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

function specialId(id: number | undefined, name: 'bos' | 'eos'): number {
  if (id !== undefined) return id;
  const like = { bos: '<｜begin▁of▁sentence｜>', eos: '<｜end▁of▁sentence｜>' }[name];
  throw new TrainMoeError(
    'bad-config',
    `The tokenizer has no ${name} token; give it a special token of a name that released models use, such as ${like}, or set ${name} to false.`,
  );
}

function freshManifest(key: string, tokenizer: DataTokenizer, bosId: number | null, eosId: number | null): Manifest {
  return {
    format: 'train-moe tokens',
    version: FORMAT_VERSION,
    key,
    complete: false,
    documentsRead: 0,
    tokenizer: tokenizer.fingerprint,
    vocabSize: tokenizer.vocabSize,
    bytesPerId: tokenizer.vocabSize <= 2 ** 16 ? 2 : 4,
    bosId,
    eosId,
    hasTokenBytes: tokenizer.byteLength !== undefined,
    splits: { train: [], validation: [], test: [] },
    moved: [],
    report: emptyReport(),
  };
}

/** Special tokens stand for no text: counting their spelling would flatter the bits per byte. */
function writeTokenBytes(folder: string, tokenizer: DataTokenizer): void {
  if (tokenizer.byteLength === undefined) return;
  const lengths = new Uint32Array(tokenizer.vocabSize);
  for (let id = 0; id < lengths.length; id++) {
    const special = id === tokenizer.eosId || id === tokenizer.bosId || tokenizer.isSpecial?.(id);
    lengths[id] = special ? 0 : tokenizer.byteLength(id);
  }
  writeWhole(path.join(folder, TOKEN_BYTES), new Uint8Array(lengths.buffer));
}

interface Job {
  readonly folder: string;
  readonly collection: Collection;
  readonly tokenizer: DataTokenizer;
  readonly fractions: SplitFractions;
  readonly shardTokens: number;
  readonly onProgress: TokenizeOptions['onProgress'];
}

/** Distinct split positions of the training documents, lowest first; no more than there are splits to fill. */
type Lowest = readonly number[];

/** One pass over the corpus. The manifest on disk always names exactly the shards that are whole. */
async function writeShards(job: Job, start: Manifest): Promise<{ done: Manifest; lowest: Lowest }> {
  const { folder, collection, tokenizer, fractions, onProgress } = job;
  const moved = new Map(start.moved);
  let manifest = start;
  const drafts = newDrafts(manifest.bytesPerId);
  let lowest: Lowest = [];
  let documents = 0;
  let bytes = 0;
  let tokens = 0;
  let held = 0;
  let tellAt = PROGRESS_BYTES;
  const commit = (): void => {
    manifest = { ...manifest, documentsRead: documents, splits: writeDrafts(folder, manifest.splits, drafts) };
    manifest = { ...manifest, report: collection.report };
    writeManifest(folder, manifest);
    held = 0;
  };
  for await (const document of collection.documents()) {
    documents++;
    const size = Buffer.byteLength(document.text);
    bytes += size;
    const position = splitPosition(contentHash(document));
    const split = moved.get(position) ?? splitAt(position, fractions);
    if (split === 'train') lowest = keepLowest(lowest, position);
    if (documents > start.documentsRead) {
      const added = drafts[split].add(tokenizer.encode(document.text), size, manifest);
      tokens += added;
      held += added;
      if (held >= job.shardTokens) commit();
    }
    if (bytes >= tellAt) {
      tellAt = bytes + PROGRESS_BYTES;
      onProgress?.({ documents, bytes, tokens });
    }
  }
  commit();
  onProgress?.({ documents, bytes, tokens });
  return { done: manifest, lowest };
}

function keepLowest(lowest: Lowest, position: number): Lowest {
  const full = lowest.length === SPLITS.length && position >= lowest[lowest.length - 1]!;
  if (full || lowest.includes(position)) return lowest;
  return [...lowest, position].sort((a, b) => a - b).slice(0, SPLITS.length);
}

function documentsToMove(manifest: Manifest, fractions: SplitFractions, lowest: Lowest): Manifest['moved'] {
  if (manifest.moved.length > 0) return [];
  const wanting = (['validation', 'test'] as const).filter((name) => {
    return fractions[name] > 0 && manifest.splits[name].length === 0;
  });
  // At least one document stays for training.
  return wanting.slice(0, Math.max(0, lowest.length - 1)).map((name, i) => [lowest[i]!, name]);
}
