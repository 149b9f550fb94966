import { IGNORE } from './types.js';

/** A batch of padding, of which nothing is trained yet: what rows are written into. */
export function blankBatch(rows: number, length: number, padId: number) {
  const size = rows * length;
  return {
    rows,
    length,
    ids: new Int32Array(size).fill(padId),
    targets: new Int32Array(size).fill(IGNORE),
    documentStart: new Int32Array(size),
    types: new Int32Array(size),
    trainedTokens: 0,
    bytes: 0,
  };
}
