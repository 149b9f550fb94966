import type { ErrorCode } from '../errors.js';

/** What the exit status of `train-moe` says. Scripts may rely on these numbers; they never change their meaning. */
export const exitCodes = {
  /** Done. Also after Ctrl-C or SIGTERM that saved, and when the reader of a pipe went away. */
  ok: 0,
  /** Something went wrong that has no number of its own: a file system, a bug. */
  failure: 1,
  /** A command, flag or setting that does not exist or does not fit. */
  usage: 2,
  /** The device asked for is not usable here, or no native binary works. */
  noDevice: 3,
  /** An allocation did not fit. */
  outOfMemory: 4,
  /** A loss or gradient became NaN or infinite; a replay bundle was saved. */
  notFinite: 5,
  /** Another process holds the run folder. */
  busy: 6,
  /** A file's bytes or text do not follow their format. */
  badData: 7,
  /** A file, model or tensor that was named does not exist. */
  notFound: 8,
  /** Ctrl-C a second time: ended at once, nothing saved (128 + SIGINT). */
  interrupted: 130,
} as const;

const byCode: Readonly<Record<ErrorCode, number>> = {
  'bad-argument': exitCodes.usage,
  'bad-config': exitCodes.usage,
  'bad-data': exitCodes.badData,
  'not-found': exitCodes.notFound,
  'out-of-memory': exitCodes.outOfMemory,
  'no-device': exitCodes.noDevice,
  busy: exitCodes.busy,
  'not-finite': exitCodes.notFinite,
  'lost-rank': exitCodes.failure,
  io: exitCodes.failure,
  internal: exitCodes.failure,
};

/** The exit status for an error with this code. */
export function exitCodeOf(code: ErrorCode): number {
  return byCode[code];
}
