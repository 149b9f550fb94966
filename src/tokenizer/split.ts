import { z } from 'zod';
import { TrainMoeError } from '../errors.js';
import type { Splitter } from './ends.js';
import type { Dialect } from './pattern.js';
import { CL100K_PATTERN, LLAMA3_PATTERN, QWEN2_PATTERN, splitCl100k, splitLlama3, splitQwen2 } from './scan/cl100k.js';
import { DEEPSEEK_V3_PATTERNS, splitDeepseekV3 } from './scan/deepseek.js';
import { GPT2_PATTERN, splitGpt2 } from './scan/gpt2.js';
import { O200K_PATTERN, splitO200k } from './scan/o200k.js';
import { type Behavior, inTurn, literalSplitter, patternSplitter } from './stages.js';

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

export type PatternName = 'gpt2' | 'cl100k' | 'o200k' | 'llama3' | 'qwen2' | 'deepseek-v3';

/** Patterns with a scanner of their own. Several spellings of one pattern may stand here. */
const SCANNERS: ReadonlyMap<string, Splitter> = new Map([
  [GPT2_PATTERN, splitGpt2],
  [GPT2_PATTERN.replace("'s|'t|'re|'ve|'m|'ll|'d", "'(?:[sdmt]|ll|ve|re)"), splitGpt2],
  [CL100K_PATTERN, splitCl100k],
  [LLAMA3_PATTERN, splitLlama3],
  [LLAMA3_PATTERN.replace(/^.*?d\)/, "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"), splitLlama3],
  [QWEN2_PATTERN, splitQwen2],
  [O200K_PATTERN, splitO200k],
]);

const V3_KEY = DEEPSEEK_V3_PATTERNS.join('\n\n');

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
  const known = list.join('\n\n') === V3_KEY ? splitDeepseekV3 : undefined;
  const split =
    known ?? inTurn(list.map((pattern) => SCANNERS.get(pattern) ?? patternSplitter(pattern, dialect, 'Isolated')));
  return { split, prefixSpace: false, json: splits(list) };
}

const Behaviors = z.enum(['Isolated', 'Contiguous', 'MergedWithPrevious', 'MergedWithNext']);
const Stage = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('Split'),
    pattern: z.union([z.object({ Regex: z.string() }), z.object({ String: z.string() })]),
    behavior: Behaviors,
    invert: z.boolean().default(false),
  }),
  z.object({ type: z.literal('Digits'), individual_digits: z.boolean().default(false) }),
  z.object({
    type: z.literal('ByteLevel'),
    add_prefix_space: z.boolean().default(true),
    use_regex: z.boolean().default(true),
  }),
]);
type Stage = z.infer<typeof Stage>;

/** Reads the `pre_tokenizer` of a `tokenizer.json`; `where` begins the sentence of the `TrainMoeError` it may throw. */
export function readPreTokenizer(json: unknown, where: string): PreTokenizer {
  const stages = flatten(json).map((stage, i) => readStage(stage, `${where}: pre_tokenizer step ${i + 1}`));
  const last = stages.at(-1);
  if (last?.type !== 'ByteLevel' || stages.filter((stage) => stage.type === 'ByteLevel').length > 1) {
    throw new TrainMoeError(
      'bad-data',
      `${where}: pre_tokenizer ends with ${JSON.stringify(last?.type ?? null)}; a byte-level BPE file has one ByteLevel step, the last.`,
    );
  }
  if (last.add_prefix_space && stages.length > 1) {
    throw new TrainMoeError(
      'bad-data',
      `${where}: pre_tokenizer has add_prefix_space after other steps, which is not supported.`,
    );
  }
  const keep = json as PreTokenizerJson;
  const regexes = stages.slice(0, -1).map(isolatedRegex);
  const split =
    !last.use_regex && regexes.join('\n\n') === V3_KEY && regexes.length === 3
      ? splitDeepseekV3
      : inTurn(stages.flatMap((stage) => stageSplitter(stage)));
  return { split, prefixSpace: last.add_prefix_space, json: keep };
}

function flatten(json: unknown): unknown[] {
  if (json === null || json === undefined) return [];
  const record = json as { type?: unknown; pretokenizers?: unknown };
  return record.type === 'Sequence' && Array.isArray(record.pretokenizers)
    ? record.pretokenizers.flatMap(flatten)
    : [json];
}

function readStage(json: unknown, where: string): Stage {
  const read = Stage.safeParse(json);
  if (read.success) return read.data;
  const type = JSON.stringify((json as { type?: unknown } | null)?.type);
  const issue = read.error.issues[0]!;
  throw new TrainMoeError(
    'bad-data',
    `${where} has type ${type} and cannot be used (${issue.path.join('.') || 'step'}: ${issue.message}); supported are Split, Digits and ByteLevel, in a Sequence or alone.`,
  );
}

function isolatedRegex(stage: Stage): string | undefined {
  return stage.type === 'Split' && stage.behavior === 'Isolated' && 'Regex' in stage.pattern
    ? stage.pattern.Regex
    : undefined;
}

function stageSplitter(stage: Stage): Splitter[] {
  if (stage.type === 'ByteLevel') return stage.use_regex ? [splitGpt2] : [];
  if (stage.type === 'Digits') {
    return [patternSplitter('\\p{N}', 'oniguruma', stage.individual_digits ? 'Isolated' : 'Contiguous')];
  }
  const behavior: Behavior = stage.behavior;
  if ('String' in stage.pattern) return [literalSplitter(stage.pattern.String, behavior, stage.invert)];
  const pattern = stage.pattern.Regex;
  const scanner = behavior === 'Isolated' ? SCANNERS.get(pattern) : undefined;
  return [scanner ?? patternSplitter(pattern, 'oniguruma', behavior, stage.invert)];
}
