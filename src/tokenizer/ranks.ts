import { TrainMoeError } from '../errors.js';
import type { AddedToken } from './added.js';
import type { MergeTable } from './merge.js';
import { type PatternSpec, resolvePattern } from './patterns.js';
import { rolesOf } from './roles.js';
import { Tokenizer } from './tokenizer.js';
import { indexOf, tokenBytes, type Vocabulary, vocabularyOf } from './vocabulary.js';

/** What a `.tiktoken` file does not say itself. */
export interface TiktokenOptions {
  /** A known pattern by name, or the pattern's text in Rust's dialect. Left out, the file's name must be a known one. */
  readonly pattern?: PatternSpec;
  /** Special tokens and their ids. Left out, those of the known file names. */
  readonly specialTokens?: Readonly<Record<string, number>>;
}

const FIM = { '<|endoftext|>': 100257, '<|fim_prefix|>': 100258, '<|fim_middle|>': 100259, '<|fim_suffix|>': 100260 };

/** The encodings whose files carry their names. */
const KNOWN: Readonly<Record<string, Required<TiktokenOptions>>> = {
  r50k_base: { pattern: 'gpt2', specialTokens: { '<|endoftext|>': 50256 } },
  p50k_base: { pattern: 'gpt2', specialTokens: { '<|endoftext|>': 50256 } },
  cl100k_base: { pattern: 'cl100k', specialTokens: { ...FIM, '<|endofprompt|>': 100276 } },
  o200k_base: { pattern: 'o200k', specialTokens: { '<|endoftext|>': 199999, '<|endofprompt|>': 200018 } },
};

/** Reads the content of a `.tiktoken` file: lines of base64 bytes, a space, and the rank, which is also the id. */
export function readTiktoken(content: string, where: string, options: TiktokenOptions = {}): Tokenizer {
  const known = Object.entries(KNOWN).find(([name]) => where.includes(name))?.[1];
  const pattern = options.pattern ?? known?.pattern;
  if (pattern === undefined) {
    throw new TrainMoeError(
      'bad-argument',
      `${where}: a .tiktoken file does not name its pattern, and this file is none of ${Object.keys(KNOWN).join(', ')}; give the option pattern.`,
    );
  }
  const specials = options.specialTokens ?? known?.specialTokens ?? {};
  const added = Object.entries(specials).map(([content, id]) => specialToken(content, id));
  const utf8 = new TextEncoder();
  const ranks = readRanks(content, where);
  const vocabulary = vocabularyOf(
    [...ranks, ...added.map(({ id, content }) => [id, utf8.encode(content)] as const)],
    where,
  );
  const ids = new Set(added.map((token) => token.id));
  return new Tokenizer({
    vocabulary,
    model: { type: 'BPE', merges: mergesOfRanks(vocabulary, (id) => !ids.has(id)), ignoreMerges: true },
    preTokenizer: resolvePattern(pattern, 'rust'),
    normalForms: [],
    added,
    roles: rolesOf(added),
    source: where,
  });
}

/** A special token with the plainest options. */
export function specialToken(content: string, id: number): AddedToken {
  return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
}

function readRanks(content: string, where: string): [number, Uint8Array][] {
  const out: [number, Uint8Array][] = [];
  const seen = new Set<string>();
  content.split('\n').forEach((line, i, lines) => {
    if (line.trim() === '' && i === lines.length - 1) return;
    const parts = /^([A-Za-z0-9+/]+={0,2}) (\d+)\r?$/.exec(line);
    if (!parts || parts[1]!.length % 4 !== 0) {
      throw new TrainMoeError(
        'bad-data',
        `${where}: line ${i + 1} is ${JSON.stringify(line.slice(0, 80))}, expected base64 bytes, a space and a rank; the file may be cut short.`,
      );
    }
    if (seen.has(parts[1]!))
      throw new TrainMoeError('bad-data', `${where}: line ${i + 1} repeats the token ${parts[1]}.`);
    seen.add(parts[1]!);
    out.push([Number(parts[2]), new Uint8Array(Buffer.from(parts[1]!, 'base64'))]);
  });
  return out;
}

/**
 * The merges that ranks stand for: two neighbours merge if their bytes together are a token, the smallest rank first. So
 * every way to cut a token into two tokens is a merge, with the token's rank.
 */
export function mergesOfRanks(vocabulary: Vocabulary, include: (id: number) => boolean): MergeTable {
  const { pieces, ids } = indexOf(vocabulary, include);
  const found: number[][] = [[], [], []];
  for (let id = 0; id < vocabulary.size; id++) {
    if (!include(id)) continue;
    const bytes = tokenBytes(vocabulary, id);
    for (let cut = 1; cut < bytes.length; cut++) {
      const left = pieces.find(bytes, 0, cut);
      if (left < 0) continue;
      const right = pieces.find(bytes, cut, bytes.length);
      if (right < 0) continue;
      found[0]!.push(ids[left]!);
      found[1]!.push(ids[right]!);
      found[2]!.push(id);
    }
  }
  const [left, right, merged] = found.map((list) => Int32Array.from(list)) as [Int32Array, Int32Array, Int32Array];
  return { left, right, merged, rank: merged };
}
