import { TrainMoeError } from '../../errors.js';
import { exactDedup } from '../dedup.js';
import type { CollectReport, TextDocument, TextStage } from '../types.js';
import { readChunks } from './bytes.js';
import { listFiles, type SourceFile } from './files.js';
import { readCsv } from './read_csv.js';
import { readJsonl } from './read_jsonl.js';
import { readParquet } from './read_parquet.js';
import { DEFAULT_TEXT_UNIT, readText, type TextUnit } from './read_text.js';
import { createReporter, emptyReport, type ProblemPolicy, type Reporter, reason } from './report.js';

/** What is read of the sources, and how. */
export interface CollectOptions {
  /** The field or column that holds the text in JSONL, CSV and Parquet. Default `text`. */
  readonly field?: string;
  /** How `.txt` files become documents. Default: parts of about 64 KiB, cut at blank lines. */
  readonly textUnit?: TextUnit;
  /** Drop exact duplicates. Default true. */
  readonly dedup?: boolean;
  /** Further steps, run in order after the texts are read and before exact deduplication. */
  readonly stages?: readonly TextStage[];
  /**
   * What to do with a file or record that cannot be used. `throw` (default): stop with an error that names it.
   * `report`: leave it out, keep everything before it, and list it in the report.
   */
  readonly onProblem?: ProblemPolicy;
  /** How many problems the report keeps word for word; all are counted. Default 100. */
  readonly problemLimit?: number;
}

/** A corpus that was found but not yet read. */
export interface Collection {
  readonly files: readonly SourceFile[];
  /** Names everything but the files that decides what the documents are; goes into the cache key. */
  readonly recipe: string;
  /**
   * Reads the corpus anew from its start, in the same order each time, holding one part of one file at a time. Each
   * call starts a fresh `report`.
   */
  documents(): AsyncIterable<TextDocument>;
  /** Counters of the latest pass. */
  readonly report: CollectReport;
}

const DEFAULT_PROBLEM_LIMIT = 100;

/**
 * Finds the files behind `sources` (files, folders, glob patterns) and returns their documents as a stream.
 * Formats: `.txt`, `.md`, `.jsonl`, `.csv`, `.tsv` (each also `.gz`), `.parquet`, and source code.
 * Throws `not-found` when a source does not exist or no file of a known kind is there.
 */
export function collect(sources: string | readonly string[], options: CollectOptions = {}): Collection {
  const { onProblem = 'throw', problemLimit = DEFAULT_PROBLEM_LIMIT } = options;
  const found = emptyReport();
  const list = typeof sources === 'string' ? [sources] : sources;
  if (list.length === 0)
    throw new TrainMoeError('bad-argument', 'No sources were given; name files, folders or glob patterns with text.');
  const files = listFiles(list, createReporter(found, onProblem, problemLimit));
  if (files.length === 0) {
    const why = found.problems[0] === undefined ? '' : ` ${found.problems[0].message}`;
    throw new TrainMoeError('not-found', `No file with text was found in ${list.join(', ')}.${why}`);
  }
  const stages = [...(options.stages ?? []), ...(options.dedup === false ? [] : [exactDedup()])];
  let report = found;
  return {
    files,
    recipe: recipeOf(options, stages),
    documents() {
      report = { ...found, problems: [...found.problems] };
      const reporter = createReporter(report, onProblem, problemLimit);
      let stream: AsyncIterable<TextDocument> = dropEmpty(readFiles(files, options, reporter), report);
      for (const stage of stages) stream = stage.run(stream, report);
      return countOut(stream, report);
    },
    get report() {
      return report;
    },
  };
}

function recipeOf({ field, textUnit, onProblem }: CollectOptions, stages: readonly TextStage[]): string {
  return JSON.stringify({
    field: field ?? 'text',
    textUnit: textUnit ?? DEFAULT_TEXT_UNIT,
    onProblem: onProblem ?? 'throw',
    stages: stages.map((stage) => stage.name),
  });
}

async function* readFiles(
  files: readonly SourceFile[],
  options: CollectOptions,
  reporter: Reporter,
): AsyncGenerator<TextDocument> {
  for (const file of files) {
    reporter.report.files++;
    try {
      yield* readFile(file, options, reporter);
    } catch (error) {
      if (isFileFault(error)) rejectFile(file.path, error, reporter);
      else throw error;
    }
  }
}

/** The documents of one file, by its format. */
function readFile(file: SourceFile, options: CollectOptions, reporter: Reporter): AsyncIterable<TextDocument> {
  const { path, format, gzip } = file;
  const { field = 'text', textUnit = DEFAULT_TEXT_UNIT } = options;
  if (format === 'parquet') return readParquet(path, field, reporter);
  const chunks = readChunks(path, gzip, file.size);
  if (format === 'jsonl') return readJsonl(chunks, path, field, reporter);
  if (format === 'csv' || format === 'tsv')
    return readCsv(chunks, path, field, format === 'csv' ? ',' : '\t', reporter);
  return readText(chunks, path, format === 'text' ? textUnit : 'file', reporter);
}

/** Faults of the file itself (damage, the system's refusal to read), as opposed to a bug or a consumer's error. */
function isFileFault(error: unknown): boolean {
  if (error instanceof TrainMoeError) return error.code === 'bad-data';
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && /^(E[A-Z]|Z_)/.test(error.code);
}

function rejectFile(file: string, error: unknown, reporter: Reporter): void {
  if (error instanceof TrainMoeError) {
    reporter.reject({ kind: 'bad-file', file, message: error.message }, error);
    return;
  }
  const message =
    `${file} cannot be read to its end: ${reason(error)}. What came before the fault was delivered; ` +
    'mend or remove the file, or go on without the rest of it (onProblem: "report"; collect --skip-bad).';
  reporter.reject({ kind: 'bad-file', file, message }, error);
}

async function* dropEmpty(documents: AsyncIterable<TextDocument>, report: CollectReport): AsyncGenerator<TextDocument> {
  for await (const document of documents) {
    if (/\S/.test(document.text)) yield document;
    else report.empty++;
  }
}

async function* countOut(documents: AsyncIterable<TextDocument>, report: CollectReport): AsyncGenerator<TextDocument> {
  for await (const document of documents) {
    report.documents++;
    report.bytes += Buffer.byteLength(document.text);
    for (let at = document.text.indexOf('\0'); at >= 0; at = document.text.indexOf('\0', at + 1)) report.nul++;
    yield document;
  }
}

/** That sources which are there hold no text. */
export const noText = (sources: readonly string[]): TrainMoeError =>
  new TrainMoeError('bad-data', `There is no text in ${sources.join(', ')}; name files that hold some.`);
