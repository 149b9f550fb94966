import type { RunConfig } from '../../config/index.js';
import type { RunEnd } from '../../train/events.js';
import { pretrainInWorker } from '../../train/in_worker.js';
import { stoppable } from '../stop.js';
import { trainView } from './view.js';

export interface TrainingOptions {
  /** Nothing but JSON on standard output: the view goes to standard error. */
  readonly json: boolean;
}

/**
 * Runs pre-training in a worker thread and shows it. The first Ctrl-C or SIGTERM saves and ends with status 0; a second
 * one ends at once.
 */
export function runTraining(config: RunConfig, { json }: TrainingOptions): Promise<RunEnd> {
  const view = trainView(json ? process.stderr : process.stdout, { everySteps: config.log.every });
  return stoppable(view, (signal) => pretrainInWorker(config, view.show, signal));
}
