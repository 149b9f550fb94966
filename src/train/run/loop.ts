/** What the loops of all runs share. */

/** True at every `every`-th step; 0: never. */
export const due = (every: number, step: number): boolean => every > 0 && step % every === 0;

/** Passes the turn, so that signals and timers are heard between steps. */
export const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
