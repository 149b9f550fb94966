import { type Batch, IGNORE } from '../data/index.js';
import type { Model } from '../models/family.js';
import { layoutValues } from '../nn/layout.js';
import type { LossOptions, LossValues } from './loss.js';

/** The mask of tokens that are padding all of them. */
export const allPadding = ({ ids }: Batch, { padding }: LossOptions) =>
  padding ? { mask: new Int32Array(ids.length) } : {};

/** What the loss of an encoder reads: only hidden tokens are targets, so many a row that the shapes are those of every step. */
export function maskedValues({ family, config }: Model<never, never>, batch: Batch, options: LossOptions): LossValues {
  const { rows, length, documentStart, targets, ids, targetsPerRow = length } = batch;
  const positions = family.positions?.(config, ids, length);
  const layout = layoutValues({
    rows,
    length,
    causal: false,
    documentStart,
    ...(positions && { positions }),
    ...allPadding(batch, options),
  });
  const hidden = new Int32Array(rows * targetsPerRow); // the first row of the batch where there are fewer
  const own = new Int32Array(hidden.length).fill(IGNORE);
  let count = 0;
  for (const [r, target] of targets.entries()) {
    if (target === IGNORE) continue;
    hidden[count] = r;
    own[count++] = target;
  }
  const { stepRows = rows, teacher, padding } = options;
  const each = padding ? 0 : 1 / stepRows;
  const weight = (teacher?.words ?? 1) / options.trainedTokens;
  const weights = Float32Array.from(own, (t) => (t === IGNORE ? 0 : weight));
  const relation = batch.relations && {
    targets: batch.relations,
    weights: new Float32Array(rows).fill(each),
  };
  const counted = teacher?.model.family.positions?.(teacher.model.config, ids, length);
  const lesson = teacher && {
    layout: { ...layout, ...(counted && { positions: counted }) },
    each: each / length,
  };
  const main = { targets: own, weights, rows: hidden };
  return { layout, ids, types: batch.types, relation, lesson, main, next: undefined };
}
