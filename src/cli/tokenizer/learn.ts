import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { noText } from '../../data/collect/index.js';
import { type Collection, collect, defaultCorpus } from '../../data/index.js';
import { formatCount, formatUnit } from '../../terminal/format.js';
import { statusLine } from '../../terminal/status.js';
import { type PatternName, type TrainProgress, trainBpe } from '../../tokenizer/index.js';

/** What `train-moe tokenizer train` is asked to do. */
export interface LearnRequest {
  readonly sources: readonly string[];
  readonly field: string;
  readonly vocabSize: number;
  readonly pattern: PatternName;
  readonly special?: readonly string[] | undefined;
  readonly minFrequency: number;
  /** Bytes of text, at most. */
  readonly bytes?: number | undefined;
  /** GiB that counting may hold. */
  readonly memory?: number | undefined;
  readonly threads?: number | undefined;
  readonly out: string;
}

export interface LearnSummary {
  /** How the text was chosen, when no source was named. */
  readonly note?: string | undefined;
  readonly out: string;
  readonly tokens: number;
  /** UTF-8 bytes learnt from, documents they were in, and how long it took, reading included. */
  readonly bytes: number;
  readonly documents: number;
  readonly seconds: number;
}

async function defaultTokens() {
  const { SPECIAL_TOKENS, SHOWN_TOKENS } = await import('../../train/corpus.js');
  return { specialTokens: SPECIAL_TOKENS, shownTokens: SHOWN_TOKENS };
}

/**
 * Learns a vocabulary from a corpus and saves it; progress goes to standard error.
 * @throws TrainMoeError `bad-data` when there is no text, and nothing is written
 */
export async function learnVocabulary(request: LearnRequest): Promise<LearnSummary> {
  const chosen = request.sources.length > 0 ? undefined : defaultCorpus();
  const sources = chosen?.sources ?? request.sources;
  const collection = collect(sources, { field: request.field });
  const read = { bytes: 0, documents: 0 };
  const status = statusLine(process.stderr);
  const started = performance.now();
  const tokenizer = await trainBpe(textsOf(collection, sources, request.bytes, read), {
    vocabSize: request.vocabSize,
    ...(request.special ? { specialTokens: request.special } : await defaultTokens()),
    pattern: request.pattern,
    minFrequency: request.minFrequency,
    ...(request.memory !== undefined && { memoryLimit: request.memory * 2 ** 30 }),
    ...(request.threads !== undefined && { threads: request.threads }),
    onProgress: (progress) => status.update(0, progressText(progress)),
  }).finally(() => status.done());
  const seconds = (performance.now() - started) / 1000;
  mkdirSync(dirname(request.out), { recursive: true });
  tokenizer.save(request.out);
  return { note: chosen?.sentence, out: request.out, tokens: tokenizer.vocabSize, ...read, seconds };
}

/** The texts, up to `limit` bytes; `read` counts them. @throws TrainMoeError `bad-data` when there is not a character */
async function* textsOf(
  collection: Collection,
  sources: readonly string[],
  limit = Number.POSITIVE_INFINITY,
  read: { bytes: number; documents: number },
): AsyncGenerator<string> {
  for await (const { text } of collection.documents()) {
    yield text;
    read.bytes += Buffer.byteLength(text);
    read.documents++;
    if (read.bytes >= limit) return;
  }
  if (read.bytes === 0) throw noText(sources);
}

function progressText(progress: TrainProgress): string {
  if (progress.stage === 'count') return `counting words: ${formatUnit(progress.bytes, 'B')}`;
  const { merges, of, pieces, dropped } = progress;
  const forgotten = dropped > 0 ? `, ${formatCount(dropped)} rare ones forgotten to save memory` : '';
  return `merging: ${merges} of ${of}, from ${formatCount(pieces)} different words${forgotten}`;
}
