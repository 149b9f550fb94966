import { once } from 'node:events';
import { createWriteStream, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { finished } from 'node:stream/promises';
import { type Chunk, readChunks, splitLines } from '../data/collect/bytes.js';
import { TrainMoeError } from '../errors.js';
import { ioError } from '../hub/io_error.js';

/** One object of a JSON Lines file and where it stands: "file:line". */
export interface JsonLine {
  readonly record: Readonly<Record<string, unknown>>;
  readonly place: string;
}

/**
 * The objects of a JSON Lines file, or of standard input for "-". Blank lines are skipped.
 * @throws TrainMoeError `bad-data` with file and line for what is no JSON object.
 */
export async function* readJsonLines(path: string): AsyncGenerator<JsonLine> {
  const chunks = path === '-' ? stdinChunks() : readChunks(path, path.endsWith('.gz'));
  for await (const lines of splitLines(chunks, path)) {
    for (const { bytes, number } of lines) {
      const text = bytes.toString('utf8').replace(/^\uFEFF/, '');
      if (text.trim() !== '') yield { record: parseRecord(text, `${path}:${number}`), place: `${path}:${number}` };
    }
  }
}

function parseRecord(text: string, place: string): JsonLine['record'] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new TrainMoeError('bad-data', `${place}: the line is not JSON (${(cause as Error).message}).`, { cause });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonLine['record'];
  throw new TrainMoeError('bad-data', `${place}: expected a JSON object, found ${text.slice(0, 40)}.`);
}

async function* stdinChunks(): AsyncGenerator<Chunk> {
  let offset = 0;
  for await (const bytes of process.stdin as AsyncIterable<Buffer>) {
    yield { bytes, offset };
    offset += bytes.length;
  }
}

/** Writes one line; resolves when there is room for the next. */
export type WriteLine = (line: string) => Promise<void>;

/**
 * Gives `body` a writer of lines to the file `path`, or to standard output without one. The file appears under its name
 * when it is complete: until then it is called `path`.part, which an error removes.
 */
export async function withLines<T>(path: string | undefined, body: (write: WriteLine) => Promise<T>): Promise<T> {
  if (path === undefined) return body((line) => writeTo(process.stdout, line));
  mkdirSync(dirname(path), { recursive: true });
  const part = `${path}.part`;
  const stream = createWriteStream(part);
  let failure: Error | undefined;
  stream.on('error', (error) => {
    failure = error;
  });
  try {
    const result = await body(async (line) => {
      if (failure) throw failure; // a full disk shows some lines after the one that did not fit
      await writeTo(stream, line);
    });
    stream.end();
    await finished(stream);
    renameSync(part, path);
    return result;
  } catch (error) {
    stream.destroy();
    rmSync(part, { force: true });
    throw failure ? ioError('write', path, failure) : error;
  }
}

async function writeTo(stream: NodeJS.WritableStream, line: string): Promise<void> {
  if (!stream.write(`${line}\n`)) await once(stream, 'drain');
}
