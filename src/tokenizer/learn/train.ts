import { availableParallelism, totalmem } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import { TrainMoeError } from '../../errors.js';
import { ALPHABET } from '../letters.js';
import { type PatternSpec, resolvePattern } from '../patterns.js';
import { specialToken } from '../ranks.js';
import { rolesOf } from '../roles.js';
import { Tokenizer } from '../tokenizer.js';
import { vocabularyOf } from '../vocabulary.js';
import { ChunkWriter } from './chunks.js';
import type { Counts } from './count.js';
import { MergeLearner } from './merges.js';
import { CounterPool } from './pool.js';

/** How far training has come. */
export type TrainProgress =
  | { readonly stage: 'count'; readonly texts: number; readonly bytes: number }
  | {
      readonly stage: 'merge';
      readonly merges: number;
      /** Merges until the vocabulary is full; there may be fewer if the text runs out of frequent pairs. */
      readonly of: number;
      /** Different pieces that are learned from. */
      readonly pieces: number;
      /** Occurrences of rare pieces that were forgotten to stay under the memory limit. */
      readonly dropped: number;
    };

/** How a vocabulary is learned. */
export interface TrainBpeOptions {
  /** Tokens in all: special ones, 256 bytes, and merges. */
  readonly vocabSize: number;
  /** They get the first ids, in this order. Their roles (bos, eos, pad) are told by the names released models use. */
  readonly specialTokens?: readonly string[];
  /**
   * What goes around the texts that a model reads: `roberta` is `<s> A </s></s> B </s>`, `bert` is `<s> A </s> B </s>` with types,
   * `xlnet` is `A <sep> B <sep> <cls>`; their tokens must be among the special ones. By default nothing.
   */
  readonly template?: 'roberta' | 'bert' | 'xlnet';
  /** One id each as well, behind the special ones, but part of the text: decoding shows them. DeepSeek-R1's `<think>`. */
  readonly shownTokens?: readonly string[];
  /** How text is cut before merging; DeepSeek-V3's three splits by default. */
  readonly pattern?: PatternSpec;
  /** Pairs that occur less often are not merged; 2 by default. */
  readonly minFrequency?: number;
  /** Longer pieces are cut there, in bytes; 1024 by default. Keeps one endless line from filling the memory. */
  readonly maxPieceLength?: number;
  /** Bytes that counting may hold; a quarter of the machine's memory by default. Beyond it the rarest pieces go first. */
  readonly memoryLimit?: number;
  /** Threads that count; all cores by default. The outcome does not depend on it unless the memory limit is met. */
  readonly threads?: number;
  readonly onProgress?: (progress: TrainProgress) => void;
}

/** Merges between two looks at the event loop. */
const MERGES_A_TURN = 256;

/**
 * Learns a byte-level BPE vocabulary. Every text is one document: nothing is merged across texts. Equal texts and options
 * give equal vocabularies. Throws a `TrainMoeError` (`bad-argument`) on options that make no sense.
 */
export async function trainBpe(
  texts: Iterable<string> | AsyncIterable<string>,
  options: TrainBpeOptions,
): Promise<Tokenizer> {
  const { pattern = 'deepseek-v3', minFrequency = 2, vocabSize, onProgress } = options;
  const names = addedNames(options);
  const firstMerge = names.length + 256;
  checkOptions(options, names, firstMerge);
  const byteIds = new Int32Array(256);
  ALPHABET.forEach((byte, i) => {
    byteIds[byte] = names.length + i;
  });
  const counts = await countPieces(texts, pattern, options);
  const learner = new MergeLearner(counts, byteIds, firstMerge, vocabSize, minFrequency);
  for (let more = true; more; await turn()) {
    more = learner.run(MERGES_A_TURN);
    const { dropped } = counts;
    onProgress?.({
      stage: 'merge',
      merges: learner.size,
      of: vocabSize - firstMerge,
      pieces: counts.counts.length,
      dropped,
    });
  }
  const { table, tokens } = learner.take();
  const shown = new Set(options.shownTokens);
  const added = names.map((name, id) => ({
    ...specialToken(name, id),
    special: !shown.has(name),
    lstrip: name === '<mask>', // a hidden word takes the space before it along, as a shown one does
  }));
  const utf8 = new TextEncoder();
  const around = options.template && TEMPLATES[options.template](names);
  const source = 'the vocabulary just learned';
  return new Tokenizer({
    vocabulary: vocabularyOf(
      [...added.map(({ id, content }) => [id, utf8.encode(content)] as const), ...tokens],
      source,
    ),
    model: { type: 'BPE', merges: table, ignoreMerges: false },
    preTokenizer: resolvePattern(pattern),
    normalForms: [],
    added,
    roles: rolesOf(added, {}, around),
    ...(around && { extra: { post_processor: around } }),
    source,
  });
}

async function countPieces(
  texts: Iterable<string> | AsyncIterable<string>,
  pattern: PatternSpec,
  {
    threads = availableParallelism(),
    maxPieceLength = 1024,
    memoryLimit = totalmem() / 4,
    onProgress,
  }: TrainBpeOptions,
): Promise<Counts> {
  const share = memoryLimit / (threads + 1); // the merged counts need room beside those of the threads
  const pool = new CounterPool({ pattern, maxPiece: maxPieceLength, memoryLimit: share }, threads);
  const writer = new ChunkWriter();
  let bytes = 0;
  let seen = 0;
  const send = async (chunk: ReturnType<ChunkWriter['take']>): Promise<void> => {
    bytes += chunk.bytes.length;
    await pool.count(chunk);
    onProgress?.({ stage: 'count', texts: seen, bytes });
  };
  try {
    for await (const text of texts) {
      seen++;
      const chunk = writer.add(text);
      if (chunk) await send(chunk);
    }
    await send(writer.take());
    return await pool.finish();
  } finally {
    await pool[Symbol.asyncDispose]();
  }
}

type Processing = (names: readonly string[]) => Readonly<Record<string, unknown>>;

/** A token whose id is its place. */
const placed = (token: string, names: readonly string[]) => [token, names.indexOf(token)];

/** Post-processors, as released models have them. */
const TEMPLATES: Readonly<Record<NonNullable<TrainBpeOptions['template']>, Processing>> = {
  roberta: (names) => ({
    type: 'RobertaProcessing',
    sep: placed('</s>', names),
    cls: placed('<s>', names),
    trim_offsets: true,
    add_prefix_space: false,
  }),
  bert: (names) => ({ type: 'BertProcessing', sep: placed('</s>', names), cls: placed('<s>', names) }),
  xlnet: (names) => {
    const text = (id: 'A' | 'B', type_id: number) => ({ Sequence: { id, type_id } });
    const token = (id: string, type_id: number) => ({ SpecialToken: { id, type_id } });
    const special = (id: string) => [id, { id, ids: [names.indexOf(id)], tokens: [id] }];
    return {
      type: 'TemplateProcessing',
      single: [text('A', 0), token('<sep>', 0), token('<cls>', 2)],
      pair: [text('A', 0), token('<sep>', 0), text('B', 1), token('<sep>', 1), token('<cls>', 2)],
      special_tokens: Object.fromEntries(['<sep>', '<cls>'].map(special)),
    };
  },
};

const addedNames = ({ specialTokens = [], shownTokens = [] }: TrainBpeOptions): string[] => [
  ...specialTokens,
  ...shownTokens,
];

function checkOptions(options: TrainBpeOptions, names: readonly string[], least: number): void {
  const { vocabSize } = options;
  const refuse = (sentence: string): never => {
    throw new TrainMoeError('bad-argument', sentence);
  };
  if (!Number.isInteger(vocabSize) || vocabSize < least) {
    refuse(
      `vocabSize is ${vocabSize}, expected a whole number of at least ${least}: 256 bytes and ${names.length} added tokens.`,
    );
  }
  const twice = names.find((token, i) => token === '' || names.indexOf(token) !== i);
  if (twice !== undefined) refuse(`The added tokens have ${JSON.stringify(twice)}; they must differ and not be empty.`);
  const least1 = { minFrequency: 1, maxPieceLength: 4, threads: 1, memoryLimit: 1 } as const;
  for (const [name, smallest] of Object.entries(least1)) {
    const value = options[name as keyof typeof least1];
    if (value !== undefined && !(value >= smallest)) refuse(`${name} is ${value}, expected at least ${smallest}.`);
  }
}
