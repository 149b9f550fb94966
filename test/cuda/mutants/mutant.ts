/** One planted bug. */
export interface Mutant {
  readonly what: string;
  /** Below kernels/cuda. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Begins of the names of the calls (calls.ts) that are to notice. */
  readonly calls: readonly string[];
  /** What the emulator is to say, where it can tell. */
  readonly says?: RegExp;
}
