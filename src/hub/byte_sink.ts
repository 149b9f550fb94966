import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { TrainMoeError } from '../errors.js';
import { ioError } from './io_error.js';

/**
 * Takes the bytes of a file in order. `part` names what they belong to (a tensor, `header`, `text`), so that a sink
 * may keep a checksum for each part and later say which one was damaged.
 */
export type ByteSink = (bytes: Uint8Array, part: string) => void;

/** Somewhere the files of a folder are written to: a plain folder, or a checkpoint with checksums. */
export interface FolderSink {
  /** Creates the file `name` (parts joined by `/`), lets `fill` write its bytes, and closes it. */
  file(name: string, fill: (sink: ByteSink) => void): void;
}

/** The file operations used for writing, replaceable so that tests can make any of them fail. */
export interface FileOps {
  readonly mkdirSync: typeof mkdirSync;
  readonly openSync: typeof openSync;
  readonly writeSync: (descriptor: number, bytes: Uint8Array, offset: number, length: number) => number;
  readonly fsyncSync: typeof fsyncSync;
  readonly closeSync: typeof closeSync;
}

export const NODE_FILE_OPS: FileOps = { mkdirSync, openSync, writeSync, fsyncSync, closeSync };

/** One write call moves at most this much; Linux and Node both refuse more than 2 GiB. */
const MAX_WRITE = 2 ** 30;

/**
 * Writes files below `root`, each forced to the disk before it is closed. Throws a sentence with the path when the
 * disk is full, a folder is missing or access is denied.
 */
export function folderSink(root: string, ops: FileOps = NODE_FILE_OPS): FolderSink {
  return {
    file(name, fill) {
      const path = join(root, checkedName(name));
      try {
        ops.mkdirSync(dirname(path), { recursive: true });
        const descriptor = ops.openSync(path, 'w', 0o666);
        try {
          fill((bytes) => writeAll(descriptor, bytes, ops));
          ops.fsyncSync(descriptor);
        } finally {
          ops.closeSync(descriptor);
        }
      } catch (cause) {
        throw ioError('write', path, cause);
      }
    },
  };
}

/** Writes one text file into a folder. */
export function writeText(folder: FolderSink, name: string, text: string): void {
  folder.file(name, (sink) => sink(Buffer.from(text), 'text'));
}

/**
 * Writes all of `bytes` where the file stands. A short write (a signal, a nearly full disk) is not an error, only a
 * reason to go on with the rest.
 */
export function writeAll(descriptor: number, bytes: Uint8Array, ops: FileOps = NODE_FILE_OPS): void {
  for (let done = 0; done < bytes.length; ) {
    done += ops.writeSync(descriptor, bytes, done, Math.min(bytes.length - done, MAX_WRITE));
  }
}

function checkedName(name: string): string {
  const parts = name.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..') || name.includes('\\')) {
    throw new TrainMoeError('bad-argument', `The file name ${JSON.stringify(name)} would leave its folder.`);
  }
  return parts.join(sep);
}
