import { TrainMoeError } from '../errors.js';
import { exitCodeOf, exitCodes } from './exit_codes.js';

/** How an error ends the process: the text for standard error and the exit status. */
export interface Ending {
  readonly text: string;
  readonly code: number;
}

/**
 * One sentence for what a user can act on, without a stack. A stack is shown for everything under TRAIN_MOE_DEBUG=1.
 */
export function endingOf(error: unknown, debug = process.env.TRAIN_MOE_DEBUG === '1'): Ending {
  const stack = debug && error instanceof Error ? `\n${fullStack(error)}` : '';
  if (error instanceof TrainMoeError)
    return { text: `train-moe: ${error.message}${stack}`, code: exitCodeOf(error.code) };
  if (isSystemError(error)) return { text: `train-moe: ${systemSentence(error)}${stack}`, code: systemCode(error) };
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const advice = debug ? '' : ' Run it again with TRAIN_MOE_DEBUG=1 and report what it prints.';
  return { text: `train-moe: this is a bug: ${message}.${advice}${stack}`, code: exitCodes.failure };
}

function fullStack(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${fullStack(error.cause)}` : '';
  return `${error.stack ?? error.message}${cause}`;
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'code' in error;
}

const SENTENCES: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EACCES: 'may not be opened by this user',
  EPERM: 'may not be changed by this user',
  EISDIR: 'is a folder where a file was expected',
  ENOTDIR: 'is a file where a folder was expected',
  EEXIST: 'exists already',
  ENOSPC: 'cannot be written: the disk is full',
  EROFS: 'cannot be written: the file system is read-only',
  EMFILE: 'cannot be opened: too many files are open (ulimit -n)',
};

function systemSentence(error: NodeJS.ErrnoException): string {
  const sentence = SENTENCES[error.code ?? ''];
  return sentence && error.path ? `${error.path} ${sentence}.` : `${error.message}.`;
}

function systemCode(error: NodeJS.ErrnoException): number {
  return error.code === 'ENOENT' ? exitCodes.notFound : exitCodes.failure;
}
