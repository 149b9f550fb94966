import { constants } from 'node:buffer';
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { TrainMoeError } from '../../errors.js';
import { wideEncoding } from './utf8.js';

const CHUNK_BYTES = 1 << 20;

/** V8 cannot hold a longer string, so no line or document may be longer. */
export const MAX_TEXT_BYTES = constants.MAX_STRING_LENGTH;

const BOM_BYTES = 3;

/** A file's bytes in order, without a UTF-8 byte order mark. `offset` is that of the chunk's first byte. */
export interface Chunk {
  readonly bytes: Buffer;
  readonly offset: number;
}

/**
 * Streams a file, decompressing `.gz`. What could be read before damage is delivered first; then the error is thrown.
 * @param size the file's size if known: a small file then takes a small buffer
 * Throws `bad-data` for a UTF-16 or UTF-32 byte order mark: such text would pass as UTF-8 full of replacement marks.
 */
export async function* readChunks(file: string, gzip: boolean, size = CHUNK_BYTES): AsyncGenerator<Chunk> {
  const input = createReadStream(file, { highWaterMark: Math.min(CHUNK_BYTES, Math.max(size, 1 << 12)) });
  const source = gzip ? gunzip(input) : input;
  let offset = 0;
  for await (const chunk of source as AsyncIterable<Buffer>) {
    let bytes = chunk;
    let at = offset;
    offset += chunk.length;
    if (at === 0) {
      const wide = wideEncoding(chunk);
      if (wide !== undefined) {
        throw new TrainMoeError('bad-data', `${file} starts with the byte order mark of ${wide}; convert it to UTF-8.`);
      }
      if (chunk[0] === 0xef && chunk[1] === 0xbb && chunk[2] === 0xbf) {
        bytes = chunk.subarray(BOM_BYTES);
        at = BOM_BYTES;
      }
    }
    if (bytes.length > 0) yield { bytes, offset: at };
  }
}

function gunzip(input: Readable): Readable {
  const output = createGunzip({ chunkSize: CHUNK_BYTES });
  input.on('error', (error) => output.destroy(error));
  output.on('close', () => input.destroy());
  return input.pipe(output);
}

/** One line without its line end (LF or CRLF). `number` counts from 1. */
export interface Line {
  readonly bytes: Buffer;
  readonly offset: number;
  readonly number: number;
}

const LF = 10;
const CR = 13;

/**
 * Splits bytes at LF, knowing each line's byte offset. Yields the lines of one chunk together, so that a short line
 * costs no turn of the event loop. A line of any length is joined once, so work is linear.
 * Throws `bad-data` for a line longer than `maxBytes`.
 */
export async function* splitLines(
  chunks: AsyncIterable<Chunk>,
  file: string,
  maxBytes = MAX_TEXT_BYTES,
): AsyncGenerator<readonly Line[]> {
  let parts: Buffer[] = [];
  let partBytes = 0;
  let start = 0;
  let number = 1;
  const take = (bytes: Buffer): Line => {
    let whole = bytes;
    if (parts.length > 0) {
      parts.push(bytes);
      whole = Buffer.concat(parts, partBytes + bytes.length);
      parts = [];
      partBytes = 0;
    }
    const end = whole[whole.length - 1] === CR ? whole.length - 1 : whole.length;
    return { bytes: whole.subarray(0, end), offset: start, number: number++ };
  };
  for await (const { bytes, offset } of chunks) {
    const lines: Line[] = [];
    let from = 0;
    if (partBytes === 0) start = offset;
    for (let to = bytes.indexOf(LF); to >= 0; to = bytes.indexOf(LF, from)) {
      lines.push(take(bytes.subarray(from, to)));
      from = to + 1;
      start = offset + from;
    }
    if (lines.length > 0) yield lines;
    if (from < bytes.length) {
      parts.push(bytes.subarray(from));
      partBytes += bytes.length - from;
    }
    if (partBytes > maxBytes) {
      throw new TrainMoeError(
        'bad-data',
        `${file}:${number}: the line that starts at byte ${start} is longer than ${maxBytes} bytes, the longest text ` +
          'this program can hold; split it.',
      );
    }
  }
  if (partBytes > 0) yield [take(Buffer.alloc(0))];
}
