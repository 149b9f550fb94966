import { type Batch, IGNORE, permutationMask, targetPlaces } from '../data/index.js';
import { TrainMoeError } from '../errors.js';
import type { Model } from '../models/family.js';
import { layoutValues } from '../nn/layout.js';
import { relativeValues } from '../nn/relative_layout.js';
import type { LossOptions, LossValues } from './loss.js';

/**
 * What the loss of a model reads that predicts words in any order: targets are those of the second stream, so many a row that the
 * shapes are those of every step.
 * @throws TrainMoeError `bad-argument` for batches that have no order
 */
export function permutedValues(
  { family, config }: Model<never, never>,
  batch: Batch,
  options: LossOptions,
): LossValues {
  const { rows, length, ids, types, turns, backwards, history } = batch;
  if (!turns)
    throw new TrainMoeError(
      'bad-argument',
      `Models of the family ${family.name} learn from words in any order; give batches of permutedBatches().`,
    );
  const { places, ids: targets } = targetPlaces(batch);
  const { length: memory, reuse } = options.memory ?? { length: 0, reuse: 0 };
  const weights = Float32Array.from(targets, (t) => (t === IGNORE ? 0 : 1 / options.trainedTokens));
  return {
    layout: layoutValues({ rows, length, causal: false }),
    relative: relativeValues(family.recurrence!(config), {
      rows,
      length,
      memory,
      permutation: permutationMask({ ...batch, turns }),
      targets: places,
      types,
      backwards,
      remembered: history?.map((before) => Math.min(memory, before * reuse)),
    }),
    ids,
    main: { targets, weights },
    next: undefined,
  };
}
