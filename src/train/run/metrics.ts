import { closeSync, existsSync, fsyncSync, openSync, readSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { TrainMoeError } from '../../errors.js';
import { writeAll } from '../../hub/byte_sink.js';
import { ioError } from '../../hub/io_error.js';
import { NODE_DISK_OPS, syncFolder } from './disk.js';

/** One line of the metrics file: the optimizer step it belongs to, and named figures. */
export interface MetricsRecord {
  readonly step: number;
  readonly [name: string]: unknown;
}

/** Appends one JSON object a line. */
export interface MetricsWriter {
  readonly path: string;
  /**
   * Hands the line to the operating system before it returns, so that it survives the death of this process. NaN and
   * infinities, which JSON lacks, are written as the strings "NaN", "Infinity" and "-Infinity".
   */
  write(record: MetricsRecord): void;
  /** Forces the lines to the disk: called with each checkpoint, so that a power cut loses none before it. */
  sync(): void;
  close(): void;
}

export interface Resume {
  /** Records of later steps are removed: the run goes back to this step and will write them again. */
  readonly afterStep: number;
}

/**
 * Opens a metrics file for appending, a new one or that of a run that is resumed. On resuming, records past the step
 * and lines that a crash cut short are dropped by rewriting the file beside itself and renaming it.
 *
 * Throws a sentence with the path when the file cannot be read or written.
 */
export function openMetrics(path: string, resume?: Resume): MetricsWriter {
  try {
    if (resume !== undefined && existsSync(path)) keepUntil(path, resume.afterStep);
    const descriptor = openSync(path, resume === undefined ? 'w' : 'a');
    return writer(path, descriptor);
  } catch (cause) {
    throw ioError('open', path, cause);
  }
}

function writer(path: string, descriptor: number): MetricsWriter {
  let open = true;
  const guarded = (action: () => void) => {
    if (!open) throw new TrainMoeError('bad-argument', `${path} was closed before the last record was written.`);
    try {
      action();
    } catch (cause) {
      throw ioError('write', path, cause);
    }
  };
  return {
    path,
    write: (record) => guarded(() => writeAll(descriptor, Buffer.from(`${formatRecord(record)}\n`))),
    sync: () => guarded(() => fsyncSync(descriptor)),
    close: () => {
      if (!open) return;
      guarded(() => fsyncSync(descriptor));
      closeSync(descriptor);
      open = false;
    },
  };
}

function formatRecord(record: MetricsRecord): string {
  return JSON.stringify(record, (_, value: unknown) =>
    typeof value === 'number' && !Number.isFinite(value) ? String(value) : value,
  );
}

/** Rewrites the file with the whole records up to and including `step`. */
function keepUntil(path: string, step: number): void {
  const temporary = `${path}.rewriting`;
  const target = openSync(temporary, 'w');
  try {
    for (const line of linesOf(path)) if (isKept(line, step)) writeAll(target, line);
    fsyncSync(target);
  } finally {
    closeSync(target);
  }
  renameSync(temporary, path);
  syncFolder(dirname(path), NODE_DISK_OPS);
}

function isKept(line: Buffer, step: number): boolean {
  if (line.at(-1) !== NEWLINE) return false;
  try {
    const record = JSON.parse(line.toString()) as MetricsRecord | null;
    return typeof record?.step === 'number' && record.step <= step;
  } catch {
    return false;
  }
}

const NEWLINE = 0x0a;
const CHUNK = 1 << 20;

/** Lines with their newline; the last one lacks it when it was cut short. */
function* linesOf(path: string): Generator<Buffer> {
  const descriptor = openSync(path, 'r');
  try {
    let rest: Buffer = Buffer.alloc(0);
    const chunk = Buffer.alloc(CHUNK);
    for (let count = readSync(descriptor, chunk); count > 0; count = readSync(descriptor, chunk)) {
      const bytes = Buffer.concat([rest, chunk.subarray(0, count)]);
      let start = 0;
      for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
        yield bytes.subarray(start, end + 1);
        start = end + 1;
      }
      rest = bytes.subarray(start);
    }
    if (rest.length > 0) yield rest;
  } finally {
    closeSync(descriptor);
  }
}
