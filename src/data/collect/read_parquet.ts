import { type FileHandle, open } from 'node:fs/promises';
import type { AsyncBuffer, FileMetaData } from 'hyparquet';
import { TrainMoeError } from '../../errors.js';
import type { TextDocument } from '../types.js';
import { kindOfValue, missingField } from './read_jsonl.js';
import { type Reporter, reason } from './report.js';
import { decodeUtf8 } from './utf8.js';

/**
 * The documents of a Parquet file: one per row, the text in the top-level column `field`; `offset` is the row number.
 * Row groups are read one after another, only the text column, so memory is bounded by one group's text.
 */
export async function* readParquet(file: string, field: string, reporter: Reporter): AsyncGenerator<TextDocument> {
  const handle = await open(file, 'r');
  try {
    const buffer = await asyncBuffer(handle);
    const metadata = await readFooter(buffer, file, field, reporter);
    if (metadata === undefined) return;
    let rowStart = 0;
    for (const group of metadata.row_groups) {
      const rowEnd = rowStart + Number(group.num_rows);
      const values = await readColumn(buffer, metadata, file, field, rowStart, rowEnd);
      for (let i = 0; i < values.length; i++) {
        const text = textOf(values[i], file, rowStart + i, field, reporter);
        if (text !== undefined) yield { text, source: file, offset: rowStart + i };
      }
      rowStart = rowEnd;
    }
  } finally {
    await handle.close();
  }
}

/** A row of a Parquet file with all its columns. */
interface ParquetRow {
  readonly fields: Readonly<Record<string, unknown>>;
  readonly place: string;
}

/** The rows of a Parquet file with all their columns, nested ones as lists and objects; one row group is held at a time. */
export async function* readParquetRows(file: string): AsyncGenerator<ParquetRow> {
  const [{ parquetMetadataAsync, parquetReadObjects }, { compressors }] = await Promise.all([
    import('hyparquet'),
    import('hyparquet-compressors'),
  ]);
  const handle = await open(file, 'r');
  try {
    const buffer = await asyncBuffer(handle);
    const metadata = await parquetMetadataAsync(buffer).catch((error) => {
      throw damaged(file, 'its footer', error);
    });
    let rowStart = 0;
    for (const group of metadata.row_groups) {
      const rowEnd = rowStart + Number(group.num_rows);
      const rows = await parquetReadObjects({ file: buffer, metadata, rowStart, rowEnd, compressors }).catch(
        (error) => {
          throw damaged(file, `rows ${rowStart} to ${rowEnd - 1}`, error);
        },
      );
      for (const [i, fields] of rows.entries())
        yield { fields: plain(fields) as ParquetRow['fields'], place: `${file} row ${rowStart + i}` };
      rowStart = rowEnd;
    }
  } finally {
    await handle.close();
  }
}

/** 64-bit integers as numbers: JSON has no others. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

async function asyncBuffer(handle: FileHandle): Promise<AsyncBuffer> {
  const { size } = await handle.stat();
  return {
    byteLength: size,
    async slice(start, end = size) {
      const from = start < 0 ? Math.max(0, size + start) : Math.min(start, size);
      // Sizes in a damaged footer may be absurd: never allocate more than the file holds.
      const bytes = new ArrayBuffer(Math.max(0, Math.min(end, size) - from));
      const { bytesRead } = await handle.read(new Uint8Array(bytes), 0, bytes.byteLength, from);
      if (bytesRead < bytes.byteLength) throw new Error(`file ended ${bytes.byteLength - bytesRead} bytes early`);
      return bytes;
    },
  };
}

async function readFooter(
  buffer: AsyncBuffer,
  file: string,
  field: string,
  reporter: Reporter,
): Promise<FileMetaData | undefined> {
  const { parquetMetadataAsync, parquetSchema } = await import('hyparquet');
  let metadata: FileMetaData;
  let columns: string[];
  try {
    metadata = await parquetMetadataAsync(buffer);
    columns = parquetSchema(metadata).children.map((child) => child.element.name);
  } catch (error) {
    throw damaged(file, 'its footer', error);
  }
  if (columns.includes(field)) return metadata;
  reporter.reject({ kind: 'bad-record', file, message: `${file}: ${missingField(field, columns)}` });
  return undefined;
}

async function readColumn(
  file: AsyncBuffer,
  metadata: FileMetaData,
  name: string,
  field: string,
  rowStart: number,
  rowEnd: number,
): Promise<unknown[]> {
  const [{ parquetRead }, { compressors }] = await Promise.all([import('hyparquet'), import('hyparquet-compressors')]);
  const values: unknown[] = [];
  try {
    await parquetRead({
      file,
      metadata,
      columns: [field],
      rowStart,
      rowEnd,
      compressors,
      // Raw bytes: ill-formed UTF-8 is ours to see and to report.
      parsers: { stringFromBytes: (bytes: Uint8Array | undefined) => bytes },
      onChunk: ({ columnData, rowStart: at }) => {
        for (let i = 0; i < columnData.length; i++) values[at - rowStart + i] = columnData[i];
      },
    });
  } catch (error) {
    throw damaged(name, `rows ${rowStart} to ${rowEnd - 1}`, error);
  }
  if (values.length < rowEnd - rowStart) {
    throw damaged(name, `rows ${rowStart} to ${rowEnd - 1}`, `only ${values.length} are there`);
  }
  return values.slice(0, rowEnd - rowStart);
}

function damaged(file: string, what: string, cause: unknown): TrainMoeError {
  return new TrainMoeError(
    'bad-data',
    `${file} is damaged or no Parquet file: ${what} cannot be read (${reason(cause)}).`,
    {
      cause,
    },
  );
}

function textOf(value: unknown, file: string, row: number, field: string, reporter: Reporter): string | undefined {
  if (value === null || value === undefined) {
    reporter.report.empty++;
    return undefined;
  }
  if (value instanceof Uint8Array) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    return decodeUtf8(bytes, `${file} row ${row}`, 0, reporter);
  }
  const message = `${file} row ${row}: the column "${field}" holds ${kindOfValue(value)}, expected a string.`;
  reporter.reject({ kind: 'bad-record', file, message });
  return undefined;
}
