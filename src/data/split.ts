import { TrainMoeError } from '../errors.js';
import type { SplitName } from './types.js';

/** Shares of the documents, each in [0, 1); what is left is for training. */
export interface SplitFractions {
  readonly validation: number;
  readonly test: number;
}

export const DEFAULT_FRACTIONS: SplitFractions = { validation: 0.01, test: 0 };

/** Throws `bad-config` unless both shares are in [0, 1) and leave something for training. */
export function checkFractions({ validation, test }: SplitFractions): void {
  const inRange = validation >= 0 && test >= 0 && validation + test < 1;
  if (!inRange) {
    throw new TrainMoeError(
      'bad-config',
      `The split fractions are validation ${validation} and test ${test}; both must be at least 0 and their sum below 1.`,
    );
  }
}

/** A document's place in [0, 1), uniform and fixed by its content alone: 48 bits of its hash that dedup does not use. */
export function splitPosition(hash: Buffer): number {
  return hash.readUIntBE(26, 6) / 2 ** 48;
}

/**
 * The split a document belongs to: position below `validation` → validation, below `validation + test` → test, else
 * train. A text thus never changes sides when the corpus grows or is reordered, and a larger share only adds to it.
 */
export function splitAt(position: number, fractions: SplitFractions): SplitName {
  if (position < fractions.validation) return 'validation';
  return position < fractions.validation + fractions.test ? 'test' : 'train';
}
