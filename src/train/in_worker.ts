import { Worker } from 'node:worker_threads';
import type { RunConfig } from '../config/index.js';
import { type ErrorCode, TrainMoeError } from '../errors.js';
import type { RunEnd, TrainEvent } from './events.js';
import { pretrainOnRanks } from './pretrain.js';
import type { TrainWorkerData, TrainWorkerMessage } from './worker.js';

/**
 * pretrain() in a worker thread, or in the processes of its ranks; its events arrive in this one. Aborted, the run saves after the
 * current step and ends. Rejects with what ended it, be it thrown by `onEvent`.
 */
export async function pretrainInWorker(
  config: RunConfig,
  onEvent: (event: TrainEvent) => void,
  signal?: AbortSignal,
): Promise<RunEnd> {
  if (config.ranks > 1) return pretrainOnRanks(config, { onEvent, signal });
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const data: TrainWorkerData = { config, stop };
  const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: data });
  let end: RunEnd | undefined;
  let failure: { readonly thrown: unknown } | undefined;
  const onAbort = () => {
    Atomics.store(stop, 0, 1);
  };
  worker.on('message', (message: TrainWorkerMessage) => {
    if (failure) return;
    if ('failed' in message) {
      failure = { thrown: revived(message.failed) };
      return;
    }
    if (message.event.kind === 'end') end = message.event.end;
    try {
      onEvent(message.event);
    } catch (thrown) {
      failure = { thrown }; // nobody is left to listen: the run saves and ends, and what was thrown is what comes of it
      onAbort();
    }
  });
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const code = await new Promise<number>((resolve, reject) => worker.on('error', reject).on('exit', resolve));
    if (failure) throw failure.thrown;
    if (end) return end;
    throw new TrainMoeError('internal', `The training thread ended with code ${code} and no result.`);
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

function revived({ code, message, stack }: Extract<TrainWorkerMessage, { failed: unknown }>['failed']): Error {
  const error = code ? new TrainMoeError(code as ErrorCode, message) : new Error(message);
  if (stack) error.stack = stack;
  return error;
}
