import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { TrainMoeError } from '../errors.js';
import { ioError } from './io_error.js';

/**
 * Where the bytes of a file come from. The file is opened once; a memory-mapped source can stand in for the
 * positional reads of `openFile` without its users knowing.
 */
export interface ByteSource {
  /** The path, for error sentences. */
  readonly path: string;
  /** Bytes in the file when it was opened. */
  readonly size: number;
  /** Fills `into` with the bytes from `offset` on. Throws `bad-data` when the file ends before. */
  read(offset: number, into: Uint8Array): void;
  /** The same bytes without a copy, for sources that are mapped. The view is read-only by convention. */
  view?(offset: number, length: number): Uint8Array;
  close(): void;
}

/** One read call moves at most this much: Linux returns short above 2 GiB - 4 kB, Node refuses above 2 GiB. */
const MAX_READ = 2 ** 30;

/** Opens a regular file for positional reads. Throws `not-found` or `io` with the path and the reason. */
export function openFile(path: string): ByteSource {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, 'r');
    const status = fstatSync(descriptor);
    if (!status.isFile()) throw new Error('it is not a regular file');
    return fileSource(path, descriptor, status.size);
  } catch (cause) {
    if (descriptor !== undefined) closeSync(descriptor);
    throw ioError('open', path, cause);
  }
}

function fileSource(path: string, descriptor: number, size: number): ByteSource {
  let open = true;
  return {
    path,
    size,
    read(offset, into) {
      if (!open) throw new TrainMoeError('bad-argument', `${path} was closed before its bytes were read.`);
      for (let done = 0; done < into.length; ) {
        const count = readSync(descriptor, into, done, Math.min(into.length - done, MAX_READ), offset + done);
        if (count === 0) {
          const found = `${path} ends at byte ${offset + done}, but was ${size} bytes long when it was opened`;
          throw new TrainMoeError('bad-data', `${found}: another program changed it while it was read.`);
        }
        done += count;
      }
    },
    close() {
      if (open) closeSync(descriptor);
      open = false;
    },
  };
}
