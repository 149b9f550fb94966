import type { Splitter } from './ends.js';
import type { Dialect } from './pattern.js';
import { CL100K_PATTERN, LLAMA3_PATTERN, QWEN2_PATTERN, splitCl100k, splitLlama3, splitQwen2 } from './scan/cl100k.js';
import { DEEPSEEK_V3_PATTERNS, splitDeepseekV3 } from './scan/deepseek.js';
import { GPT2_PATTERN, splitGpt2 } from './scan/gpt2.js';
import { O200K_PATTERN, splitO200k } from './scan/o200k.js';
import { inTurn, patternSplitter } from './stages.js';

/** The `pre_tokenizer` of a `tokenizer.json`, kept as it was read. */
export type PreTokenizerJson = Readonly<Record<string, unknown>> | null;

/** How a text is cut into pieces before merging. */
export interface PreTokenizer {
  readonly split: Splitter;
  /** A space goes before a text that does not begin with one. */
  readonly prefixSpace: boolean;
  /** What `tokenizer.json` says, to be written back. */
  readonly json: PreTokenizerJson;
}

/** Ready-made pre-tokenizers by name; each is one hand-written pass over the bytes. */
export const PATTERNS: Readonly<Record<PatternName, PreTokenizer>> = {
  gpt2: { split: splitGpt2, prefixSpace: false, json: byteLevel(true) },
  cl100k: { split: splitCl100k, prefixSpace: false, json: splits([CL100K_PATTERN]) },
  o200k: { split: splitO200k, prefixSpace: false, json: splits([O200K_PATTERN]) },
  llama3: { split: splitLlama3, prefixSpace: false, json: splits([LLAMA3_PATTERN]) },
  qwen2: { split: splitQwen2, prefixSpace: false, json: splits([QWEN2_PATTERN]) },
  'deepseek-v3': { split: splitDeepseekV3, prefixSpace: false, json: splits(DEEPSEEK_V3_PATTERNS) },
};

/** Ways of cutting text that released models have. */
export type PatternName = 'gpt2' | 'cl100k' | 'o200k' | 'llama3' | 'qwen2' | 'deepseek-v3';

/** Patterns with a scanner of their own, as `spelling` writes them. Several spellings of one pattern may stand here. */
const SCANNERS: ReadonlyMap<string, Splitter> = new Map([
  [GPT2_PATTERN, splitGpt2],
  [GPT2_PATTERN.replace("'s|'t|'re|'ve|'m|'ll|'d", "'(?:[sdmt]|ll|ve|re)"), splitGpt2],
  [CL100K_PATTERN, splitCl100k],
  [LLAMA3_PATTERN, splitLlama3],
  [LLAMA3_PATTERN.replace(/^.*?d\)/, "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"), splitLlama3],
  [QWEN2_PATTERN, splitQwen2],
  [O200K_PATTERN, splitO200k],
]);

/** Are these the three splits of DeepSeek-V3? They have one scanner together. */
export function isDeepseekV3(patterns: readonly (string | undefined)[]): boolean {
  return patterns.length === 3 && DEEPSEEK_V3_PATTERNS.every((own, i) => spelling(own) === spelling(patterns[i] ?? ''));
}

/** The hand-written scanner of a pattern, if it has one. */
export function scannerOf(pattern: string): Splitter | undefined {
  return SCANNERS.get(spelling(pattern));
}

/** Some files write line breaks as escapes, some as themselves. */
function spelling(pattern: string): string {
  return pattern.replaceAll('\r', '\\r').replaceAll('\n', '\\n');
}

function byteLevel(regex: boolean): Readonly<Record<string, unknown>> {
  return { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: regex };
}

function splits(patterns: readonly string[]): Readonly<Record<string, unknown>> {
  const stages = patterns.map((Regex) => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false }));
  return { type: 'Sequence', pretokenizers: [...stages, byteLevel(false)] };
}

/** A pre-tokenizer from one pattern, or from several that are applied in turn. */
export function fromPatterns(patterns: string | readonly string[], dialect: Dialect = 'oniguruma'): PreTokenizer {
  const list = typeof patterns === 'string' ? [patterns] : patterns;
  const known = isDeepseekV3(list) ? splitDeepseekV3 : undefined;
  const split =
    known ?? inTurn(list.map((pattern) => scannerOf(pattern) ?? patternSplitter(pattern, dialect, 'Isolated')));
  return { split, prefixSpace: false, json: splits(list) };
}

/** A known pattern by name, or one or more patterns (Oniguruma's dialect) that are applied in turn. */
export type PatternSpec = PatternName | (string & {}) | readonly string[];

/** The pre-tokenizer that a pattern option names. */
export function resolvePattern(spec: PatternSpec, dialect: Dialect = 'oniguruma'): PreTokenizer {
  if (typeof spec === 'string' && Object.hasOwn(PATTERNS, spec)) return PATTERNS[spec as PatternName];
  return fromPatterns(spec, dialect);
}
