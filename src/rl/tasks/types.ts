import type { RewardSpec } from '../rewards/types.js';

/** One problem to be put to the model. */
export interface Problem {
  /** The question. */
  readonly prompt: string;
  /** The reference answer; tasks whose rewards need none may leave it out. */
  readonly answer?: string;
  /** Names or specs of the rewards that grade it. */
  readonly rewards: readonly (string | RewardSpec)[];
  /** What else the rewards need. */
  readonly meta?: Readonly<Record<string, unknown>>;
}

/**
 * A source of problems. The same (seed, index) always gives the same problem, and no problem of the one split is ever
 * given by the other.
 */
export interface Task {
  readonly name: string;
  /** Problem `index` of an epoch without end, in the order of `seed`. @param index 0 .. 2^53 - 1 */
  train(index: number, seed: number): Problem;
  /** Held-out problem `index`, the same for every run. @param index 0 .. testSize - 1 */
  test(index: number): Problem;
  /** Held-out problems there are; Infinity for a generator. */
  readonly testSize: number;
}
