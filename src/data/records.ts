import { readFileSync, statSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { TrainMoeError } from '../errors.js';
import { readChunks, splitLines } from './collect/bytes.js';
import { kindOfValue } from './collect/read_jsonl.js';
import { readParquetRows } from './collect/read_parquet.js';
import { createReporter, emptyReport, reason } from './collect/report.js';
import { decodeUtf8 } from './collect/utf8.js';

/** A record of a data file and where it stands: "file:line", "file row 3" or "file item 3". */
export interface DataRecord {
  readonly fields: Readonly<Record<string, unknown>>;
  readonly place: string;
}

/**
 * The records of a data file, by its ending: `.jsonl` and `.ndjson` (one object a line; blank lines are skipped), `.json`
 * (a list of objects), each also as `.gz`, and `.parquet`. Bytes that are not UTF-8 become U+FFFD.
 * @param onBad is told of a line or item that is no object, which is then left out; without it that is an error
 * @throws TrainMoeError `bad-data` with file and place for what is no object, `not-found` when the file does not exist,
 *   `bad-argument` when it is a folder
 */
export async function* readRecords(file: string, onBad?: OnBad): AsyncGenerator<DataRecord> {
  refuseMissing([file]);
  const name = file.toLowerCase().replace(/\.gz$/, '');
  if (name.endsWith('.parquet')) yield* readParquetRows(file);
  else if (name.endsWith('.json')) yield* readList(file, onBad);
  else yield* readLines(file, onBad);
}

/**
 * Looks whether data files are there, before what takes longer.
 * @throws TrainMoeError `not-found` for one that does not exist, `bad-argument` for a folder
 */
export function refuseMissing(files: readonly string[]): void {
  for (const file of files) {
    const found = statSync(file, { throwIfNoEntry: false });
    if (!found) throw new TrainMoeError('not-found', `The data file ${file} does not exist.`);
    if (found.isDirectory())
      throw new TrainMoeError(
        'bad-argument',
        `${file} is a folder; give a data file in it (.jsonl, .json or .parquet).`,
      );
  }
}

/** Told of a record that cannot be used. */
export type OnBad = (error: TrainMoeError) => void;

async function* readLines(file: string, onBad: OnBad | undefined): AsyncGenerator<DataRecord> {
  const reporter = createReporter(emptyReport(), 'throw', 0);
  for await (const lines of splitLines(readChunks(file, file.toLowerCase().endsWith('.gz')), file)) {
    for (const { bytes, number, offset } of lines) {
      const place = `${file}:${number}`;
      const text = decodeUtf8(bytes, file, offset, reporter);
      if (text.trim() === '') continue;
      const fields = orTold(onBad, () => objectOf(parse(text, place), place));
      if (fields) yield { fields, place };
    }
  }
}

function* readList(file: string, onBad: OnBad | undefined): Generator<DataRecord> {
  const bytes = readFileSync(file);
  const text = (file.toLowerCase().endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8').replace(/^\ufeff/, '');
  const list = parse(text, file);
  if (!Array.isArray(list))
    throw new TrainMoeError('bad-data', `${file}: expected a list of objects, found ${kindOfValue(list)}.`);
  for (const [i, item] of list.entries()) {
    const place = `${file} item ${i + 1}`;
    const fields = orTold(onBad, () => objectOf(item, place));
    if (fields) yield { fields, place };
  }
}

/** The result, or undefined when it failed and somebody was told. */
export function orTold<T>(onBad: OnBad | undefined, body: () => T): T | undefined {
  try {
    return body();
  } catch (error) {
    if (!onBad || !(error instanceof TrainMoeError)) throw error;
    onBad(error);
    return undefined;
  }
}

function parse(text: string, place: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new TrainMoeError('bad-data', `${place}: this is not JSON (${reason(cause)}).`, { cause });
  }
}

function objectOf(value: unknown, place: string): DataRecord['fields'] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as DataRecord['fields'];
  throw new TrainMoeError('bad-data', `${place}: expected a JSON object, found ${kindOfValue(value)}.`);
}
