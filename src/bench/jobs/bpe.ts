import { readFileSync } from 'node:fs';
import { defaultCorpus } from '../../data/index.js';
import { type Tokenizer, trainBpe } from '../../tokenizer/index.js';
import type { Case, Job } from '../case.js';
import type { Repetitions } from '../measure.js';
import type { JobShapes } from '../shapes.js';

const training: Repetitions = { budget: 2, warmup: 0, least: 2, most: 20 };
const encoding: Repetitions = { budget: 2, warmup: 1, least: 3, most: 20 };

/** Byte-level BPE with DeepSeek-V3's splits: from text to a vocabulary. Shape names end in the number of threads. */
export const bpeTrain: Job<'bpe_train'> = {
  name: 'bpe_train',
  repetitions: training,
  async run(c) {
    const text = readText(c);
    for (const threads of threadCounts(c)) {
      let learned: Tokenizer | undefined;
      await c.timeAsync(
        {
          shape: threaded(c.shape, threads),
          metric: 'mb_per_s',
          work: text.bytes / 1e6,
          further: () => ({ tokens: learned?.vocabSize }),
        },
        async () => {
          learned = await learn(text, c.shape.vocab, threads);
        },
      );
    }
  },
};

/**
 * Documents to token numbers, one after the other, with the vocabulary that this text teaches. Encoding runs on one
 * thread, whatever the number of cores; so do the rows.
 */
export const bpeEncode: Job<'bpe_encode'> = {
  name: 'bpe_encode',
  repetitions: encoding,
  async run(c) {
    const text = readText(c);
    const tokenizer = await learn(text, c.shape.vocab, c.options.threads);
    let tokens = 0;
    c.time(
      { shape: threaded(c.shape, 1), metric: 'mb_per_s', work: text.bytes / 1e6, further: () => ({ tokens }) },
      () => {
        tokens = text.documents.reduce((sum, document) => sum + tokenizer.encode(document).length, 0);
      },
    );
  },
};

interface Text {
  readonly documents: readonly string[];
  readonly bytes: number;
}

/** Every pair is worth a merge as long as it occurs, which is what other trainers do unless told otherwise. */
const learn = (text: Text, vocabSize: number, threads: number): Promise<Tokenizer> =>
  trainBpe(text.documents, { vocabSize, threads, minFrequency: 1 });

const threadCounts = ({ options }: Case): number[] => [...new Set([1, options.threads])];

const threaded = <S extends { readonly name: string }>(shape: S, threads: number) => ({
  ...shape,
  name: `${shape.name}-${threads}t`,
  threads,
});

function readText({ options }: Case<JobShapes['bpe_train']>): Text {
  const sources = options.text === undefined ? defaultCorpus().sources : [options.text];
  const whole = sources.map((path) => readFileSync(path, 'utf8')).join('');
  const documents = cutDocuments(options.smoke ? whole.slice(0, 200_000) : whole);
  return { documents, bytes: documents.reduce((sum, text) => sum + Buffer.byteLength(text), 0) };
}

/** The text in pieces of some kilobytes, cut at line ends: what a data set of documents looks like. */
export function cutDocuments(text: string): string[] {
  const documents: string[] = [];
  let start = 0;
  let size = 0;
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at) + 1 || text.length;
    size += Buffer.byteLength(text.slice(at, end));
    at = end;
    if (size <= 8000) continue;
    documents.push(text.slice(start, at));
    start = at;
    size = 0;
  }
  if (start < text.length) documents.push(text.slice(start));
  return documents;
}
