import { TrainMoeError } from '../errors.js';

const REMEDY: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full; free some space or choose another folder',
  EDQUOT: 'the disk quota is used up; free some space or choose another folder',
  EFBIG: 'the file is larger than the file system or the limit of this shell (ulimit -f) allows',
  EACCES: 'permission denied; check who owns the folder',
  EPERM: 'the operation is not permitted here; check who owns the folder',
  EROFS: 'the file system is mounted read-only; choose another folder',
  ENOENT: 'no such file or folder; it may have been removed meanwhile',
  ENOTDIR: 'a part of the path is a file, not a folder',
  EISDIR: 'it is a folder, not a file',
  EMFILE: 'too many open files; raise the limit (ulimit -n)',
  EIO: 'the device reported an error; check the disk',
};

/**
 * A failed file operation as a sentence: what was tried, on which path, why it failed, what to do. The system's own
 * error, with its code, stays as `cause`. An error that is already a sentence of ours passes through.
 */
export function ioError(action: string, path: string, cause: unknown): TrainMoeError {
  if (cause instanceof TrainMoeError) return cause;
  const { code, message } = cause as NodeJS.ErrnoException;
  const reason = code !== undefined && REMEDY[code] !== undefined ? `${REMEDY[code]} (${code})` : message;
  return new TrainMoeError(code === 'ENOENT' ? 'not-found' : 'io', `Cannot ${action} ${path}: ${reason}.`, { cause });
}
