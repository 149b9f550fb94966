import { parentPort, workerData } from 'node:worker_threads';
import type { RunConfig } from '../config/index.js';
import { TrainMoeError } from '../errors.js';
import type { TrainEvent } from './events.js';
import { pretrain } from './pretrain.js';

/** Entry of the thread that trains, so that the main thread stays free for signals, the terminal and servers. */

/** What the main thread gives. `stop[0]` becomes 1 when the run shall save and end. */
export interface TrainWorkerData {
  readonly config: RunConfig;
  readonly stop: Int32Array;
}

/** What comes back. An error crosses as its parts, because its class does not survive the copy. */
export type TrainWorkerMessage =
  | { readonly event: TrainEvent }
  | {
      readonly failed: {
        readonly code: string | undefined;
        readonly message: string;
        readonly stack: string | undefined;
      };
    };

const { config, stop } = workerData as TrainWorkerData;
const port = parentPort!;
const post = (message: TrainWorkerMessage) => port.postMessage(message);

try {
  await pretrain(config, { onEvent: (event) => post({ event }), shouldStop: () => Atomics.load(stop, 0) !== 0 });
} catch (error) {
  const { message, stack } = error as Error;
  post({ failed: { code: error instanceof TrainMoeError ? error.code : undefined, message, stack } });
}
