import type { EpochStream } from './stream.js';
import { IGNORE, type Packing } from './types.js';

/**
 * How many windows cover a stream. Window w of length T reads tokens wT .. wT+T: the last one is only a target, and the
 * first input of window w+1. So each token but the stream's first is a target exactly once. The last window may be
 * short and is filled up with positions that are not trained.
 */
export function windowCount(tokens: number, length: number): number {
  return Math.max(0, Math.ceil((tokens - 1) / length));
}

/** The arrays of a batch and the place of one row in them. */
export interface RowTarget {
  readonly ids: Int32Array;
  readonly targets: Int32Array;
  readonly documentStart: Int32Array;
  readonly row: number;
  readonly length: number;
  /** Fills the positions behind the end of the stream. */
  readonly padId: number;
  readonly packing: Packing;
}

/**
 * Writes window `window` of the stream to one row; returns the number of trained targets.
 *
 * With `documents` packing, `documentStart` says where each position's document begins in the row (0 for one that began
 * before it), and the first token of a document is nobody's target: nothing it may attend to foretells it. Filled-up
 * positions then form a document of their own.
 */
export function fillRow(stream: EpochStream, window: number, scratch: Int32Array, target: RowTarget): number {
  const { ids, targets, documentStart, row, length, padId, packing } = target;
  const start = window * length;
  const count = Math.min(length, stream.tokens - 1 - start);
  const at = row * length;
  stream.read(start, count + 1, scratch, 0);
  ids.set(scratch.subarray(0, count), at);
  targets.set(scratch.subarray(1, count + 1), at);
  ids.fill(padId, at + count, at + length);
  targets.fill(IGNORE, at + count, at + length);
  if (packing === 'stream') {
    documentStart.fill(0, at, at + length);
    return count;
  }
  let trained = count;
  let from = 0;
  let begin = 0;
  for (const position of stream.documentStarts(start, start + count + 1)) {
    const index = position - start;
    documentStart.fill(begin, at + from, at + index);
    from = index;
    begin = index;
    if (index > 0) {
      targets[at + index - 1] = IGNORE;
      trained--;
    }
  }
  documentStart.fill(begin, at + from, at + count);
  documentStart.fill(count, at + count, at + length);
  return trained;
}
