/**
 * What went wrong, as a stable word a program can branch on. The sentence is for people.
 *
 * - `bad-argument`: a caller passed something of the wrong kind, shape or range
 * - `bad-config`: a config file or option does not fit the schema
 * - `bad-data`: a file's bytes or text do not follow their format
 * - `not-found`: a file, model, tensor or binary that was named does not exist
 * - `out-of-memory`: an allocation did not fit
 * - `no-device`: the device asked for is not usable here
 * - `busy`: another process holds the run folder
 * - `not-finite`: a loss or gradient became NaN or infinite
 * - `lost-rank`: a process of a run on several ranks ended, or no longer answers
 * - `io`: the file system refused: full, read-only, no permission, gone
 * - `internal`: a bug of ours
 */
export type ErrorCode =
  | 'bad-argument'
  | 'bad-config'
  | 'bad-data'
  | 'not-found'
  | 'out-of-memory'
  | 'no-device'
  | 'busy'
  | 'not-finite'
  | 'lost-rank'
  | 'io'
  | 'internal';

/**
 * The one error class of this package. `message` is one sentence (what was given, what was expected, what to do);
 * `code` is for programs.
 */
export class TrainMoeError extends Error {
  override readonly name = 'TrainMoeError';
  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
