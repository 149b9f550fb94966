import { type Batch, IGNORE } from './types.js';

/**
 * For multi-token prediction: position i is given token i+1 and predicts token i+2 of the same document. The last
 * position of a row has no such target, nor has one whose next token begins another document.
 */
export function shiftOnce(batch: Pick<Batch, 'ids' | 'targets' | 'documentStart' | 'length'>): {
  nextIds: Int32Array;
  nextTargets: Int32Array;
  trained: number;
} {
  const count = batch.ids.length;
  const nextIds = new Int32Array(count);
  const nextTargets = new Int32Array(count).fill(IGNORE);
  let trained = 0;
  for (let r = 0; r < count; r++) {
    if ((r + 1) % batch.length === 0) {
      nextIds[r] = Math.max(batch.targets[r]!, 0);
      continue;
    }
    nextIds[r] = batch.ids[r + 1]!;
    if (batch.documentStart[r] !== batch.documentStart[r + 1]) continue;
    nextTargets[r] = batch.targets[r + 1]!;
    if (nextTargets[r] !== IGNORE) trained++;
  }
  return { nextIds, nextTargets, trained };
}
