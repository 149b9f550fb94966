import { Worker } from 'node:worker_threads';
import type { RunConfig } from '../config/index.js';
import { type ErrorCode, TrainMoeError } from '../errors.js';
import type { RunEnd, TrainEvent } from './events.js';
import type { TrainWorkerData, TrainWorkerMessage } from './worker.js';

/** A run in a worker thread. */
export interface WorkerRun {
  /** Resolves when the run has ended; rejects with what ended it. */
  readonly finished: Promise<RunEnd>;
  /** Asks the run to save after the current step and end. */
  stop(): void;
}

/** Starts pretrain() in a worker thread; its events arrive in this one. */
export function pretrainInWorker(config: RunConfig, onEvent: (event: TrainEvent) => void): WorkerRun {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const data: TrainWorkerData = { config, stop };
  const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: data });
  let end: RunEnd | undefined;
  let failure: Error | undefined;
  worker.on('message', (message: TrainWorkerMessage) => {
    if ('failed' in message) {
      failure = revived(message.failed);
      return;
    }
    if (message.event.kind === 'end') end = message.event.end;
    onEvent(message.event);
  });
  const finished = new Promise<RunEnd>((resolve, reject) => {
    worker.on('error', reject);
    worker.on('exit', (code) => {
      if (end && !failure) resolve(end);
      else
        reject(failure ?? new TrainMoeError('internal', `The training thread ended with code ${code} and no result.`));
    });
  });
  return {
    finished,
    stop: () => {
      Atomics.store(stop, 0, 1);
    },
  };
}

function revived({ code, message, stack }: Extract<TrainWorkerMessage, { failed: unknown }>['failed']): Error {
  const error = code ? new TrainMoeError(code as ErrorCode, message) : new Error(message);
  if (stack) error.stack = stack;
  return error;
}
