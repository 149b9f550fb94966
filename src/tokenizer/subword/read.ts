import { z } from 'zod';
import { TrainMoeError } from '../../errors.js';
import type { AddedToken } from '../added.js';
import { check } from '../check.js';
import { readPostProcessor } from '../post_processor.js';
import { isObject, modelTypeOf, TokenizerFile } from '../read.js';
import { rolesOf } from '../roles.js';
import { LARGEST_ID } from '../vocabulary.js';
import { readDecoder } from './decoder.js';
import type { SubwordModel } from './model.js';
import { readNormalizer } from './normalizer.js';
import { readWordSplitter } from './pre_tokenizer.js';
import { SubwordTokenizer } from './tokenizer.js';
import { Trie } from './trie.js';
import { unigram } from './unigram.js';
import { wordPiece } from './wordpiece.js';

const WordPiece = z.object({
  vocab: z.custom<Readonly<Record<string, unknown>>>(isObject, 'expected an object of tokens and ids'),
  unk_token: z.string().default('[UNK]'),
  continuing_subword_prefix: z.string().default('##'),
  max_input_chars_per_word: z.number().int().min(0).default(100),
});

const Unigram = z.object({
  vocab: z.custom<readonly unknown[]>(Array.isArray, 'expected a list of tokens and scores'),
  unk_id: z.number().int().min(0).nullish(),
  byte_fallback: z.literal(false, 'only false is supported').optional(),
});

/** A model, and the spellings of its tokens by id. */
interface ReadModel {
  readonly model: SubwordModel;
  readonly tokens: readonly (string | undefined)[];
}

/** Is this the content of a `tokenizer.json` that `readSubwordJson` takes? */
export function isSubwordJson(json: unknown): boolean {
  const model = isObject(json) ? (json as { model?: unknown }).model : undefined;
  const type = isObject(model) ? modelTypeOf(model as Readonly<Record<string, unknown>>) : undefined;
  return type === 'WordPiece' || type === 'Unigram';
}

/**
 * Reads the content of a `tokenizer.json` with a WordPiece or Unigram model. `where` (a path) begins the sentence of every
 * `TrainMoeError`; `config` is the content of `tokenizer_config.json`, if there is one.
 */
export function readSubwordJson(
  json: unknown,
  where: string,
  config?: Readonly<Record<string, unknown>>,
): SubwordTokenizer {
  const file = check(TokenizerFile, json, where);
  const added: readonly AddedToken[] = file.added_tokens;
  const { model, tokens } =
    modelTypeOf(file.model) === 'Unigram' ? readUnigram(file.model, where) : readWordPiece(file.model, where);
  const all = withAdded(tokens, added, where);
  return new SubwordTokenizer({
    tokens: all,
    model,
    normalizer: readNormalizer(file.normalizer, where),
    words: readWordSplitter(file.pre_tokenizer, where),
    decoder: readDecoder(file.decoder, where),
    postProcessor: readPostProcessor(file.post_processor, all.length, where),
    added,
    roles: rolesOf(added, config, file.post_processor),
    json: json as Readonly<Record<string, unknown>>,
    ...(config ? { config } : {}),
    source: where,
  });
}

function readWordPiece(json: unknown, where: string): ReadModel {
  const kind = 'tokenizer.json with a WordPiece model';
  const read = check(z.object({ model: WordPiece }), { model: json }, where, kind).model;
  const tokens: (string | undefined)[] = [];
  for (const [token, id] of Object.entries(read.vocab)) {
    checkId(id, token, where);
    if (tokens[id] !== undefined) throw sharedId(id, tokens[id], token, where);
    tokens[id] = token.toWellFormed();
  }
  const trie = new Trie(entriesOf(tokens));
  const unkId = trie.idOf(read.unk_token);
  if (unkId < 0) {
    throw new TrainMoeError(
      'bad-data',
      `${where}: model.unk_token is ${JSON.stringify(read.unk_token)}, which the vocabulary does not have.`,
    );
  }
  const { continuing_subword_prefix: prefix, max_input_chars_per_word: maxChars } = read;
  return { model: wordPiece({ trie, prefix, unkId, maxChars }), tokens };
}

function readUnigram(json: unknown, where: string): ReadModel {
  const kind = 'tokenizer.json with a Unigram model';
  const { vocab, unk_id } = check(z.object({ model: Unigram }), { model: json }, where, kind).model;
  const tokens: string[] = [];
  const scores = new Float64Array(vocab.length);
  for (const [id, entry] of vocab.entries()) {
    const [token, score]: unknown[] = Array.isArray(entry) && entry.length === 2 ? entry : [];
    if (typeof token !== 'string' || typeof score !== 'number') {
      throw new TrainMoeError(
        'bad-data',
        `${where}: entry ${id} of the vocabulary is ${JSON.stringify(entry)}, expected a token and its score.`,
      );
    }
    tokens.push(token.toWellFormed());
    scores[id] = score;
  }
  const unkId = unk_id ?? undefined;
  if (tokens.length === 0 || (unkId !== undefined && unkId >= tokens.length)) {
    throw new TrainMoeError(
      'bad-data',
      `${where}: model.unk_id is ${unkId ?? null}, and the vocabulary has ${tokens.length} tokens.`,
    );
  }
  const trie = new Trie(entriesOf(tokens));
  return { model: unigram({ trie, scores, unkId, source: where }), tokens };
}

/** Tokens that text can be cut into; of equal spellings the last counts. */
function entriesOf(tokens: readonly (string | undefined)[]): [token: string, id: number][] {
  return tokens.flatMap((token, id) => (token === undefined || token === '' ? [] : [[token, id] as [string, number]]));
}

/** The spellings by id with those of added tokens, each of which is a token of the vocabulary already or has an id of its own. */
function withAdded(
  tokens: readonly (string | undefined)[],
  added: readonly AddedToken[],
  where: string,
): (string | undefined)[] {
  const all = tokens.slice();
  const ids = new Map(entriesOf(tokens));
  for (const { id, content } of added) {
    checkId(id, content, where);
    const known = ids.get(content);
    if (known !== undefined && known !== id) {
      throw new TrainMoeError(
        'bad-data',
        `${where}: the added token ${JSON.stringify(content)} has id ${id}, but ${known} in the vocabulary.`,
      );
    }
    if (all[id] !== undefined && all[id] !== content) throw sharedId(id, all[id], content, where);
    all[id] = content;
  }
  return Array.from(all);
}

function checkId(id: unknown, token: string, where: string): asserts id is number {
  if (Number.isInteger(id) && (id as number) >= 0 && (id as number) <= LARGEST_ID) return;
  throw new TrainMoeError(
    'bad-data',
    `${where}: ${JSON.stringify(token)} has id ${JSON.stringify(id)}, expected a whole number from 0 to ${LARGEST_ID}.`,
  );
}

function sharedId(id: number, one: string, other: string, where: string): TrainMoeError {
  const both = `${JSON.stringify(one)} and ${JSON.stringify(other)}`;
  return new TrainMoeError('bad-data', `${where}: id ${id} belongs to two tokens, ${both}.`);
}
