import { type Checkpoint, findLatest } from './checkpoint.js';

/** What the loops of all runs share. */

/** True at every `every`-th step; 0: never. */
export const due = (every: number, step: number): boolean => every > 0 && step % every === 0;

/** Passes the turn, so that signals and timers are heard between steps. */
export const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The checkpoint to go on from; `note` is told of newer ones that are damaged. */
export function checkpointOf(out: string, note: (sentence: string) => void): Checkpoint | undefined {
  const { checkpoint, damaged } = findLatest(out);
  for (const { message } of damaged) note(`A checkpoint was passed over: ${message}`);
  return checkpoint;
}
