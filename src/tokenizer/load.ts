import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { TrainMoeError } from '../errors.js';
import { readGpt2 } from './gpt2files.js';
import { readTiktoken, type TiktokenOptions } from './ranks.js';
import { readTokenizerJson } from './read.js';
import { isSubwordJson, readSubwordJson } from './subword/read.js';
import { readVocabTxt } from './subword/vocab_txt.js';
import type { TextTokenizer } from './text_tokenizer.js';
import { Tokenizer } from './tokenizer.js';

/** GPT-2's pair of files under its two pairs of names. */
const PAIRS: readonly (readonly [vocab: string, merges: string])[] = [
  ['vocab.json', 'merges.txt'],
  ['encoder.json', 'vocab.bpe'],
];

/** BERT's vocabulary, where there is no `tokenizer.json`. */
const LINES = 'vocab.txt';

/**
 * Opens the tokenizer of a file or folder, whatever its kind: a `tokenizer.json` with a byte-level BPE, WordPiece or Unigram
 * model, a `.tiktoken` file, GPT-2's `vocab.json` and `merges.txt` (also as `encoder.json` and `vocab.bpe`), or BERT's
 * `vocab.txt`. A `tokenizer_config.json` beside it tells the roles of tokens. `options` are for `.tiktoken` files.
 * Throws a `TrainMoeError` with `not-found` or `bad-data`.
 */
export function openTokenizer(path: string, options: TiktokenOptions = {}): TextTokenizer {
  if (!existsSync(path))
    throw new TrainMoeError('not-found', `There is no tokenizer at ${path}: no such file or folder.`);
  const file = statSync(path).isDirectory() ? fileInside(path) : path;
  if (file.endsWith('.tiktoken')) return readTiktoken(readFileSync(file, 'utf8'), file, options);
  const folder = dirname(file);
  const config = readConfig(folder);
  const pair = PAIRS.find((names) => names.includes(basename(file)));
  if (pair) return readPair(folder, pair, config);
  if (file.endsWith('.txt')) return readVocabTxt(readFileSync(file, 'utf8'), file, config);
  const json = readJson(file);
  return isSubwordJson(json) ? readSubwordJson(json, file, config) : readTokenizerJson(json, file, config);
}

/**
 * Opens a tokenizer as `openTokenizer` does, for callers that need byte-level BPE: what it encodes comes back to the byte.
 * Throws a `TrainMoeError` with `bad-data` on a file of another kind, besides those of `openTokenizer`.
 */
export function loadTokenizer(path: string, options: TiktokenOptions = {}): Tokenizer {
  const tokenizer = openTokenizer(path, options);
  if (tokenizer instanceof Tokenizer) return tokenizer;
  throw new TrainMoeError(
    'bad-data',
    `${path} holds a ${tokenizer.type} tokenizer, and a byte-level BPE tokenizer is needed here; openTokenizer() takes the others.`,
  );
}

function readPair(
  folder: string,
  names: readonly [vocab: string, merges: string],
  config: Readonly<Record<string, unknown>> | undefined,
): Tokenizer {
  const [vocab, merges] = names.map((name) => join(folder, name)) as [string, string];
  for (const [part, other] of [
    [vocab, merges],
    [merges, vocab],
  ] as const) {
    if (!existsSync(part))
      throw new TrainMoeError('not-found', `${other} needs ${basename(part)} beside it, which is missing.`);
  }
  return readGpt2(readJson(vocab), readFileSync(merges, 'utf8'), merges, config);
}

/** SentencePiece's own files, which older folders of ALBERT, XLNet and Llama have alone. */
const SENTENCE_PIECE = ['spiece.model', 'tokenizer.model'];

function fileInside(folder: string): string {
  const candidates = ['tokenizer.json', ...PAIRS.flat(), LINES];
  const found = candidates.find((name) => existsSync(join(folder, name)));
  if (found) return join(folder, found);
  const unread = SENTENCE_PIECE.find((name) => existsSync(join(folder, name)));
  const instead = unread ? `; ${unread} is not read: give the tokenizer.json that transformers makes of it` : '';
  throw new TrainMoeError(
    'not-found',
    `There is no tokenizer in ${folder}: none of ${candidates.join(', ')} is there${instead}.`,
  );
}

function readConfig(folder: string): Readonly<Record<string, unknown>> | undefined {
  const path = join(folder, 'tokenizer_config.json');
  if (!existsSync(path)) return undefined;
  const config = readJson(path);
  if (typeof config === 'object' && config !== null && !Array.isArray(config)) return config as Record<string, unknown>;
  throw new TrainMoeError('bad-data', `${path} holds no JSON object.`);
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new TrainMoeError('bad-data', `${path} is no JSON: ${(cause as Error).message}.`, { cause });
  }
}
