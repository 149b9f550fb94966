import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { RunConfig } from '../config/index.js';
import { type Collection, type CollectReport, collect, defaultCorpus, type TokenSet, tokenize } from '../data/index.js';
import { loadTokenizer, type Tokenizer, trainBpe } from '../tokenizer/index.js';

/** What is told while the corpus is prepared. */
export interface CorpusEvents {
  /** One sentence: what was taken, what was learnt. */
  note(sentence: string): void;
  /** Something is under way: its name, how much of `total` is done (undefined: not known), in `unit`. */
  progress(phase: string, done: number, total: number | undefined, unit: string): void;
}

export interface Corpus {
  readonly tokenizer: Tokenizer;
  readonly tokens: TokenSet;
  readonly report: CollectReport;
}

/** Special tokens of a learnt vocabulary: DeepSeek-V3's names, so that its chat template and FIM format fit. */
export const SPECIAL_TOKENS = [
  '<｜begin▁of▁sentence｜>',
  '<｜end▁of▁sentence｜>',
  '<｜▁pad▁｜>',
  '<｜fim▁hole｜>',
  '<｜fim▁begin｜>',
  '<｜fim▁end｜>',
  '<｜User｜>',
  '<｜Assistant｜>',
] as const;

/** Tokens that are part of what a model writes, and so are shown: rewards and readers look for them. */
export const SHOWN_TOKENS = ['<think>', '</think>'] as const;

/** Where a run keeps the vocabulary it learnt. */
export const tokenizerPath = (out: string) => join(out, 'tokenizer.json');

/** Reads the sources, learns or loads the vocabulary, and tokenises into the cache; each part is skipped when it is done. */
export async function prepareCorpus(config: RunConfig, events: CorpusEvents): Promise<Corpus> {
  const { data } = config;
  const collection = openSources(data.sources, data.field, events);
  const tokenizer = await tokenizerFor(config, collection, events);
  const tokens = await tokenize(collection, tokenizer, {
    cacheDir: data.cache ?? join(config.out, 'cache'),
    fractions: { validation: data.validation, test: data.test },
    onProgress: ({ bytes }) => events.progress('tokenising', bytes, undefined, 'B'),
  });
  return { tokenizer, tokens, report: tokens.report };
}

function openSources(sources: readonly string[], field: string, events: CorpusEvents): Collection {
  if (sources.length > 0) return collect(sources, { field });
  const { sources: own, sentence } = defaultCorpus();
  events.note(sentence);
  return collect(own, { field });
}

async function tokenizerFor(
  { tokenizer: wanted, out }: RunConfig,
  collection: Collection,
  events: CorpusEvents,
): Promise<Tokenizer> {
  if (wanted.path) return loadTokenizer(wanted.path);
  if (existsSync(tokenizerPath(out))) return loadTokenizer(tokenizerPath(out));
  const tokenizer = await trainBpe(sampleTexts(collection, wanted.trainBytes), {
    vocabSize: wanted.vocabSize,
    specialTokens: [...SPECIAL_TOKENS],
    shownTokens: [...SHOWN_TOKENS],
    onProgress: (p) =>
      p.stage === 'count'
        ? events.progress('vocabulary: counting', p.bytes, undefined, 'B')
        : events.progress('vocabulary: merging', p.merges, p.of, 'merges'),
  });
  tokenizer.save(tokenizerPath(out));
  events.note(`Learnt a vocabulary of ${tokenizer.vocabSize} tokens.`);
  return tokenizer;
}

/** Texts up to `limit` bytes. */
async function* sampleTexts(collection: Collection, limit: number): AsyncGenerator<string> {
  let bytes = 0;
  for await (const { text } of collection.documents()) {
    yield text;
    bytes += Buffer.byteLength(text);
    if (bytes >= limit) return;
  }
}
