import type { Communicator } from '../../parallel/index.js';
import type { Device } from '../../tensor/index.js';
import type { Checkpoint } from '../run/checkpoint.js';
import { refuseMixed } from './agree.js';

/** The place of this process in a run on several ranks. */
export interface RankPlace {
  readonly communicator: Communicator;
  /** Where the first rank said that the run goes on. */
  readonly checkpoint: Checkpoint | undefined;
  /** Called by the first rank when all that it alone does is done and the others can begin. */
  readonly prepared: (checkpoint: Checkpoint | undefined) => void;
}

/** Seconds that other processes have to start in, whatever the timeout between steps. */
const START_SECONDS = 120;

/**
 * The first meeting of all ranks; the first one lets the others begin before it.
 * @throws TrainMoeError as Communicator and refuseMixed()
 */
export function meetAll(
  { communicator, prepared }: RankPlace,
  checkpoint: Checkpoint | undefined,
  device: Device,
  seconds: number,
): void {
  if (communicator.rank === 0) prepared(checkpoint && { path: checkpoint.path, step: checkpoint.step });
  communicator.barrier('start', Math.max(seconds, START_SECONDS));
  refuseMixed(communicator, device);
}
