import { permutation } from '../../data/order.js';
import { TrainMoeError } from '../../errors.js';
import type { Problem, Task } from './types.js';

/**
 * A task over given problems. Training walks through a permutation of them, a new one in each epoch. A problem whose
 * prompt is also held out is left out of training, whatever files the two came from.
 * @throws TrainMoeError if a side is empty
 */
export function taskOfProblems(name: string, train: readonly Problem[], test: readonly Problem[]): Task {
  const heldOut = new Set(test.map(({ prompt }) => prompt.trim()));
  const kept = train.filter(({ prompt }) => !heldOut.has(prompt.trim()));
  if (kept.length === 0)
    throw new TrainMoeError('bad-data', `The task ${name} has no problems to train on that are not held out, too.`);
  return {
    name,
    train(index, seed) {
      const epoch = Math.floor(index / kept.length);
      return kept[permutation(kept.length, seed, epoch)(index % kept.length)]!;
    },
    test(index) {
      const problem = test[index];
      if (!problem)
        throw new TrainMoeError(
          'bad-argument',
          `The task ${name} has ${test.length} held-out problems; there is no number ${index}.`,
        );
      return problem;
    },
    testSize: test.length,
  };
}
