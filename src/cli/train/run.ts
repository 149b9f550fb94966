import type { RunConfig } from '../../config/index.js';
import type { RunEnd, TrainEvent } from '../../train/events.js';
import { pretrainInWorker } from '../../train/in_worker.js';
import { exitCodes } from '../exit_codes.js';
import { trainView } from './view.js';

export interface TrainingOptions {
  /** Nothing but JSON on standard output: the view goes to standard error. */
  readonly json: boolean;
}

/**
 * Runs pre-training in a worker thread and shows it. The first Ctrl-C or SIGTERM saves and ends with status 0; a second
 * one ends at once.
 */
export async function runTraining(config: RunConfig, { json }: TrainingOptions): Promise<RunEnd> {
  const output = json ? process.stderr : process.stdout;
  const view = trainView(output, { everySteps: config.log.every });
  const run = pretrainInWorker(config, (event: TrainEvent) => view.show(event));
  const release = onSignals(() => {
    view.show({ kind: 'note', sentence: 'Saving after this step; press Ctrl-C again to end at once without saving.' });
    run.stop();
  });
  try {
    return await run.finished;
  } finally {
    release();
    view.done();
  }
}

/** Calls `first` at the first signal; the second ends the process. Returns how to stop listening. */
function onSignals(first: () => void): () => void {
  let seen = false;
  const listener = () => {
    if (seen) process.exit(exitCodes.interrupted);
    seen = true;
    first();
  };
  process.on('SIGINT', listener).on('SIGTERM', listener);
  return () => process.off('SIGINT', listener).off('SIGTERM', listener);
}
