import { TrainMoeError } from '../../errors.js';
import { type Job, shortWork } from '../case.js';

/** Sampling, rewards and one update. Its shapes are named so that the row is missed rather than forgotten. */
export const grpo: Job<'grpo'> = {
  name: 'grpo',
  repetitions: shortWork,
  run() {
    throw new TrainMoeError('internal', 'GRPO is not measured yet: this benchmark has its shapes, but not the job.');
  },
};
