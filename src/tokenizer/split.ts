import { z } from 'zod';
import { TrainMoeError } from '../errors.js';
import type { Splitter } from './ends.js';
import { isDeepseekV3, type PreTokenizer, type PreTokenizerJson, scannerOf } from './patterns.js';
import { splitDeepseekV3 } from './scan/deepseek.js';
import { splitGpt2 } from './scan/gpt2.js';
import { type Behavior, inTurn, literalSplitter, patternSplitter } from './stages.js';

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
    !last.use_regex && isDeepseekV3(regexes)
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
  const scanner = behavior === 'Isolated' ? scannerOf(pattern) : undefined;
  return [scanner ?? patternSplitter(pattern, 'oniguruma', behavior, stage.invert)];
}
