import * as native from '../../native.gen.js';
import { empty, scope } from '../../tensor/index.js';
import { type Case, type Job, shortWork } from '../case.js';
import { draw } from '../inputs.js';
import { type MeasureOptions, measure, median } from '../measure.js';
import type { JobShapes } from '../shapes.js';

/**
 * The fastest square product of this build, its weights packed beforehand: the bound that the other products are measured
 * by. The size is looked for among powers of two, then measured like any other job.
 */
export const peak: Job<'peak'> = {
  name: 'peak',
  repetitions: { ...shortWork, budget: 2 },
  run(c) {
    const trials = sizes(c.shape.largest).map((size) => ({ size, speed: scope(() => speedAt(c, size)) }));
    const { size } = trials.reduce((best, trial) => (trial.speed > best.speed ? trial : best));
    const { work, run } = product(c, size);
    c.time({ metric: 'tflop_per_s', work, further: () => ({ size }) }, run);
  },
};

/** `largest` and the two powers of two below it, as far as they are worth a product. */
const sizes = (largest: number): number[] => [largest, largest >> 1, largest >> 2].filter((size) => size >= 64);

function product({ shape: { dtype }, device }: Case<JobShapes['peak']>, size: number) {
  const on = { dtype, device };
  const x = draw([size, size], on);
  const w = draw([size, size], { ...on, weight: true });
  const y = empty([size, size], on);
  return { work: 2e-12 * size ** 3, run: () => native.linearForward(y, x, w, undefined) };
}

function speedAt(c: Case<JobShapes['peak']>, size: number): number {
  const { work, run } = product(c, size);
  const quick: MeasureOptions = { budget: 0.1, warmup: 1, least: 2, most: 20, patience: 0, finish: c.finish };
  return work / median(measure(run, quick).seconds);
}
