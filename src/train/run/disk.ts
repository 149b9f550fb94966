import { linkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { type FileOps, NODE_FILE_OPS } from '../../hub/byte_sink.js';
import { ioError } from '../../hub/io_error.js';

/** Every operation that changes a run folder, replaceable so that tests can make any single one fail. */
export interface DiskOps extends FileOps {
  readonly renameSync: typeof renameSync;
  readonly rmSync: typeof rmSync;
  readonly symlinkSync: typeof symlinkSync;
  readonly linkSync: typeof linkSync;
}

export const NODE_DISK_OPS: DiskOps = { ...NODE_FILE_OPS, renameSync, rmSync, symlinkSync, linkSync };

/** Forces the names in a folder to the disk: a file's own fsync does not cover the entry that points to it. */
export function syncFolder(path: string, ops: DiskOps): void {
  try {
    const descriptor = ops.openSync(path, 'r');
    try {
      ops.fsyncSync(descriptor);
    } finally {
      ops.closeSync(descriptor);
    }
  } catch (cause) {
    throw ioError('sync the folder', path, cause);
  }
}
