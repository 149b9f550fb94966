import { TrainMoeError } from '../errors.js';
import type { AddedToken } from './added.js';
import { bytesOfLetters, tryBytesOf } from './letters.js';
import { PATTERNS } from './patterns.js';
import { specialToken } from './ranks.js';
import { mergeTable } from './read.js';
import { rolesOf } from './roles.js';
import { Tokenizer } from './tokenizer.js';
import { vocabularyOf } from './vocabulary.js';

/**
 * Reads GPT-2's two files: the vocabulary (`vocab.json`, `encoder.json`: spelling to id) and the merges (`merges.txt`,
 * `vocab.bpe`: a `#version` line, then "left right" lines). A token that no merge makes and that is no single byte is
 * taken for a special token, as `<|endoftext|>` is. Throws a `TrainMoeError`; `where` begins its sentence.
 */
export function readGpt2(
  vocab: unknown,
  merges: string,
  where: string,
  config?: Readonly<Record<string, unknown>>,
): Tokenizer {
  if (typeof vocab !== 'object' || vocab === null || Array.isArray(vocab)) {
    throw new TrainMoeError('bad-data', `${where}: the vocabulary is no JSON object of tokens and ids.`);
  }
  const entries = Object.entries(vocab as Record<string, unknown>);
  for (const [token, id] of entries) {
    if (typeof id !== 'number')
      throw new TrainMoeError(
        'bad-data',
        `${where}: the token ${JSON.stringify(token)} has the id ${JSON.stringify(id)}, expected a number.`,
      );
  }
  const ids = new Map(entries as [string, number][]);
  const table = mergeTable(mergeLines(merges), ids, where);
  const made = new Set(table.merged);
  const added: AddedToken[] = [];
  const tokens: [number, Uint8Array][] = [];
  for (const [token, id] of ids) {
    if (made.has(id) || tryBytesOf(token)?.length === 1) tokens.push([id, bytesOfLetters(token, where)]);
    else added.push(specialToken(token, id));
  }
  const utf8 = new TextEncoder();
  for (const { id, content } of added) tokens.push([id, utf8.encode(content)]);
  return new Tokenizer({
    vocabulary: vocabularyOf(tokens, where),
    model: { type: 'BPE', merges: table, ignoreMerges: false },
    preTokenizer: PATTERNS.gpt2,
    normalForms: [],
    added,
    roles: rolesOf(added, config),
    ...(config ? { config } : {}),
    source: where,
  });
}

function mergeLines(text: string): string[] {
  const lines = text.split(/\r?\n/);
  if (lines[0]?.startsWith('#version')) lines.shift();
  return lines.filter((line) => line !== '');
}
