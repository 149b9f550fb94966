import { createHash } from 'node:crypto';
import { createWriteStream, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { collect, defaultCorpus } from '../data/index.js';
import { ioError } from '../hub/io_error.js';
import type { Task } from '../rl/tasks/types.js';
import { trainBpe } from '../tokenizer/index.js';
import type { Input } from './stages.js';
import { type Habits, type Transcript, transcript } from './transcripts.js';

/** What a small base is trained on: some real text, and transcripts of the task (see transcripts.ts). */
export interface Mixture {
  /** Bytes of real text, whole files, at least one. */
  readonly textBytes: number;
  readonly transcripts: number;
  readonly habits: Habits;
  readonly vocabSize: number;
}

/** The files of a corpus stage, by the names they have in its folder. */
export const CORPUS = { transcripts: 'transcripts.jsonl', tokenizer: 'tokenizer.json' } as const;

const SPECIAL_TOKENS = ['<｜begin▁of▁sentence｜>', '<｜end▁of▁sentence｜>', '<｜▁pad▁｜>'] as const;

/**
 * How text is cut before merging: tags are whole pieces and digits single ones, so that a small model sees every digit of a
 * number; the rest is as in DeepSeek-V3, but a sign is a piece of its own, so that a question's last sign is the same token
 * whatever follows it.
 */
const PATTERN = String.raw`</?[a-z]+>| ?\p{N}|[^\r\n\p{L}\p{P}\p{S}\p{N}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]|\s*[\r\n]+|\s+(?!\S)|\s+`;

/** Transcripts that the vocabulary is learnt from, beside the text. */
const VOCABULARY_TRANSCRIPTS = 10_000;

/** Seed of the transcripts' problems, far from those of the runs: a question may be met again, a held-out one never. */
const TRANSCRIPT_SEED = 0x10_000;

/** The last files of the sources, which for the default text are the newest, up to so many bytes. */
export function realText(sources: readonly string[], bytes: number): string[] {
  const files = (
    sources.length > 0 ? collect(sources).files.map(({ path }) => path) : defaultCorpus().sources
  ).toReversed();
  const taken: string[] = [];
  for (let sum = 0; taken.length < files.length && (sum < bytes || taken.length === 0); ) {
    const file = files[taken.length]!;
    taken.push(file);
    sum += statSync(file).size;
  }
  return taken.toReversed();
}

/** Text files as an input of a stage: known by size and content up to 64 MiB each, beyond that by size and time. */
export function filesInput(name: string, files: readonly string[]): Input {
  const hash = createHash('sha256');
  for (const file of files) {
    const { size, mtimeMs } = statSync(file);
    hash.update(`${size}\n`).update(size <= 2 ** 26 ? readFileSync(file) : String(mtimeMs));
  }
  return { name, hash: hash.digest('hex') };
}

/** Transcripts behind those of the corpus, each as a prompt with its completion, of so many characters in all. */
export function moreTranscripts(
  task: Task,
  { transcripts, habits }: Mixture,
  seed: number,
  characters: number,
): Transcript[] {
  const more: Transcript[] = [];
  for (let sum = 0; sum < characters; ) {
    const next = transcript(task, habits, seed + TRANSCRIPT_SEED, transcripts + more.length);
    sum += next.prompt.length + next.completion.length;
    more.push(next);
  }
  return more;
}

/** Writes transcripts and vocabulary into the folder; returns a few of the transcripts. */
export async function makeCorpus(
  folder: string,
  task: Task,
  text: readonly string[],
  { transcripts, habits, vocabSize }: Mixture,
  seed: number,
): Promise<{ readonly shown: readonly string[] }> {
  const at = (i: number) => {
    const { prompt, completion } = transcript(task, habits, seed + TRANSCRIPT_SEED, i);
    return prompt + completion;
  };
  const path = join(folder, CORPUS.transcripts);
  const out = createWriteStream(path);
  for (let i = 0; i < transcripts; i++) out.write(`${JSON.stringify({ text: at(i) })}\n`);
  out.end();
  await finished(out).catch((cause) => {
    throw ioError('write', path, cause);
  });
  function* sources() {
    for (const file of text) yield readFileSync(file, 'utf8');
    for (let i = 0; i < Math.min(transcripts, VOCABULARY_TRANSCRIPTS); i++) yield at(i);
  }
  const tokenizer = await trainBpe(sources(), { vocabSize, specialTokens: [...SPECIAL_TOKENS], pattern: PATTERN });
  tokenizer.save(join(folder, CORPUS.tokenizer));
  return { shown: Array.from({ length: Math.min(transcripts, 12) }, (_, i) => at(i)) };
}
