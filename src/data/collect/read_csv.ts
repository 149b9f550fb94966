import { TrainMoeError } from '../../errors.js';
import type { TextDocument } from '../types.js';
import { type Chunk, MAX_TEXT_BYTES } from './bytes.js';
import { missingField } from './read_jsonl.js';
import { type Reporter, reason } from './report.js';
import { decodeUtf8 } from './utf8.js';

interface CsvRecord {
  readonly fields: readonly string[];
  /** Bytes of the table up to the record's end. */
  readonly end: number;
}

/**
 * The documents of a CSV (or TSV) file with a header row; the text is in the column `field`.
 *
 * The parser is told that the bytes are Latin-1. Its delimiters are ASCII, so it finds the same fields, and each field
 * comes back byte for byte: ill-formed UTF-8 is then ours to see and to report, not lost inside the parser.
 */
export async function* readCsv(
  chunks: AsyncIterable<Chunk>,
  file: string,
  field: string,
  delimiter: string,
  reporter: Reporter,
): AsyncGenerator<TextDocument> {
  let column = -1;
  let end = 0;
  for await (const { records, origin } of parseRecords(chunks, file, delimiter)) {
    for (const record of records) {
      const offset = origin + end;
      end = record.end;
      if (column >= 0) {
        const text = decodeUtf8(Buffer.from(record.fields[column]!, 'latin1'), file, offset, reporter);
        yield { text, source: file, offset };
        continue;
      }
      const names = record.fields.map((name) => decodeUtf8(Buffer.from(name, 'latin1'), file, offset, reporter));
      column = names.indexOf(field);
      if (column < 0) {
        reporter.reject({ kind: 'bad-record', file, line: 1, message: `${file}:1: ${missingField(field, names)}` });
        return;
      }
    }
  }
}

/**
 * The records of each chunk together; `origin` is the file offset of the table's first byte. Records are taken from the
 * parser's callback: as a stream it would drop those it had ready when it meets a broken row.
 */
async function* parseRecords(
  chunks: AsyncIterable<Chunk>,
  file: string,
  delimiter: string,
): AsyncGenerator<{ records: readonly CsvRecord[]; origin: number }> {
  const { parse } = await import('csv-parse');
  let records: CsvRecord[] = [];
  let line = 1;
  let failure: unknown;
  const parser = parse({
    delimiter,
    encoding: 'latin1',
    skip_empty_lines: true,
    max_record_size: MAX_TEXT_BYTES,
    on_record: (fields: string[], info) => {
      line = info.lines;
      records.push({ fields, end: info.bytes });
      return null;
    },
  });
  parser.on('error', (error) => {
    failure ??= error;
  });
  parser.resume();
  const take = () => {
    const taken = records;
    records = [];
    return taken;
  };
  let origin = 0;
  let first = true;
  try {
    for await (const chunk of chunks) {
      if (first) origin = chunk.offset;
      first = false;
      await new Promise<void>((resolve) => parser.write(chunk.bytes, () => resolve()));
      yield { records: take(), origin };
      if (failure !== undefined) break;
    }
    if (failure === undefined) {
      await new Promise<void>((resolve) => parser.once('close', resolve).end());
      yield { records: take(), origin };
    }
  } finally {
    parser.destroy();
  }
  if (failure === undefined) return;
  throw new TrainMoeError('bad-data', `${file}: the table breaks off after line ${line}: ${reason(failure)}.`, {
    cause: failure,
  });
}
