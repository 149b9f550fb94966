import { z } from 'zod';
import { TrainMoeError } from '../errors.js';
import type { AddedToken } from './added.js';
import { check } from './check.js';
import { bytesOfLetters } from './letters.js';
import type { MergeTable } from './merge.js';
import { PairMap } from './pairs.js';
import type { BpeModel, NormalForm } from './parts.js';
import { rolesOf } from './roles.js';
import { readPreTokenizer } from './split.js';
import { Tokenizer } from './tokenizer.js';
import { vocabularyOf } from './vocabulary.js';

const Added = z.object({
  id: z.number(),
  content: z.string().min(1),
  special: z.boolean().default(false),
  normalized: z.boolean().default(true),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
});

/** What every `tokenizer.json` has, whatever its model is. */
export const TokenizerFile = z.object({
  truncation: z.unknown().optional(),
  padding: z.unknown().optional(),
  added_tokens: z.array(Added).default([]),
  normalizer: z.unknown().optional(),
  pre_tokenizer: z.unknown().optional(),
  post_processor: z.unknown().optional(),
  decoder: z.unknown().optional(),
  model: z.looseObject({ type: z.string().optional() }),
});

/** The kind of a model. Files from before 2021 do not say: then its fields tell. */
export function modelTypeOf(model: Readonly<Record<string, unknown>>): string | undefined {
  if (typeof model.type === 'string') return model.type;
  if ('merges' in model) return 'BPE';
  if (Array.isArray(model.vocab)) return 'Unigram';
  return 'max_input_chars_per_word' in model ? 'WordPiece' : undefined;
}

export function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const absent = z.union([z.null(), z.literal('')]).optional();
const Bpe = z.object({
  vocab: z.custom<Readonly<Record<string, number>>>(isObject, 'expected an object of tokens and ids'),
  merges: z.custom<readonly (string | readonly [string, string])[]>(Array.isArray, 'expected a list of merges'),
  ignore_merges: z.boolean().default(false),
  dropout: z.union([z.null(), z.literal(0)]).optional(),
  unk_token: z.string().nullish(),
  continuing_subword_prefix: absent,
  end_of_word_suffix: absent,
  byte_fallback: z.literal(false).optional(),
});

const BPE_FILE = 'tokenizer.json with a BPE model';

/**
 * Reads the content of a `tokenizer.json` with a byte-level BPE model. `where` (a path) begins the sentence of every `TrainMoeError`; `config` is the
 * content of `tokenizer_config.json`, if there is one.
 */
export function readTokenizerJson(json: unknown, where: string, config?: Readonly<Record<string, unknown>>): Tokenizer {
  const file = check(TokenizerFile, json, where, BPE_FILE);
  const { vocab, model } = readModel(file.model, where);
  const added: readonly AddedToken[] = file.added_tokens;
  const contents = new Set(added.map((token) => token.content));
  const vocabulary = vocabularyOf(tokensOf(vocab, added, contents, where), where);
  const { truncation, padding, normalizer, post_processor, decoder } = file;
  return new Tokenizer({
    vocabulary,
    model,
    preTokenizer: readPreTokenizer(file.pre_tokenizer, where),
    normalForms: normalFormsOf(normalizer, where),
    added,
    roles: rolesOf(added, config, post_processor),
    extra: { truncation, padding, normalizer, post_processor, decoder },
    ...(config ? { config } : {}),
    source: where,
  });
}

function readModel(
  json: Readonly<Record<string, unknown>>,
  where: string,
): { vocab: ReadonlyMap<string, number>; model: BpeModel } {
  const type = modelTypeOf(json);
  if (type !== 'BPE') {
    throw new TrainMoeError(
      'bad-data',
      `${where}: model.type is ${JSON.stringify(type ?? null)}; the models that can be read are "BPE", "WordPiece" and "Unigram".`,
    );
  }
  const read = check(z.object({ model: Bpe }), { model: json }, where, BPE_FILE).model;
  const vocab = new Map(Object.entries(read.vocab));
  const merges = mergeTable(read.merges, vocab, where);
  return { vocab, model: { type, merges, ignoreMerges: read.ignore_merges } };
}

/** Merges by their spelling to merges by id; their order is their rank. */
export function mergeTable(
  merges: readonly (string | readonly [string, string])[],
  vocab: ReadonlyMap<string, number>,
  where: string,
): MergeTable {
  const table = {
    left: new Int32Array(merges.length),
    right: new Int32Array(merges.length),
    merged: new Int32Array(merges.length),
    rank: new Int32Array(merges.length),
  };
  const seen = new PairMap(merges.length);
  merges.forEach((merge, m) => {
    const [left, right, ...more]: unknown[] =
      typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : [];
    if (typeof left !== 'string' || typeof right !== 'string' || !left || !right || more.length > 0) {
      throw new TrainMoeError(
        'bad-data',
        `${where}: merge ${m + 1} is ${JSON.stringify(merge)}, expected two tokens with a space between them.`,
      );
    }
    const ids = [left, right, left + right].map((token) => vocab.get(token));
    const missing = [left, right, left + right][ids.indexOf(undefined)];
    if (missing !== undefined) {
      throw new TrainMoeError(
        'bad-data',
        `${where}: merge ${m + 1} (${JSON.stringify(`${left} ${right}`)}) needs the token ${JSON.stringify(missing)}, which the vocabulary does not have.`,
      );
    }
    const earlier = seen.getOrSet(ids[0]!, ids[1]!, m);
    if (earlier !== m) {
      throw new TrainMoeError(
        'bad-data',
        `${where}: merges ${earlier + 1} and ${m + 1} are the same (${JSON.stringify(`${left} ${right}`)}).`,
      );
    }
    table.left[m] = ids[0]!;
    table.right[m] = ids[1]!;
    table.merged[m] = ids[2]!;
    table.rank[m] = m;
  });
  return table;
}

function* tokensOf(
  vocab: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
  contents: ReadonlySet<string>,
  where: string,
): Generator<readonly [number, Uint8Array]> {
  const utf8 = new TextEncoder();
  for (const [token, id] of vocab) yield [id, contents.has(token) ? utf8.encode(token) : bytesOfLetters(token, where)];
  for (const { id, content } of added) yield [id, utf8.encode(content)];
}

const FORMS: ReadonlySet<unknown> = new Set<NormalForm>(['NFC', 'NFD', 'NFKC', 'NFKD']);

/** Normalizers of byte-level files: none, or Unicode normal forms. */
function normalFormsOf(json: unknown, where: string): NormalForm[] {
  if (json === null || json === undefined) return [];
  const { type, normalizers } = json as { type?: unknown; normalizers?: unknown };
  if (type === 'Sequence' && Array.isArray(normalizers)) return normalizers.flatMap((one) => normalFormsOf(one, where));
  if (FORMS.has(type)) return [type as NormalForm];
  throw new TrainMoeError(
    'bad-data',
    `${where}: normalizer has type ${JSON.stringify(type)}; supported are NFC, NFD, NFKC and NFKD.`,
  );
}
