import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunConfig } from '../config/index.js';
import { TrainMoeError } from '../errors.js';
import type { Communicator } from '../parallel/index.js';
import { isFirst } from './ranks/agree.js';
import type { Trainer } from './trainer.js';

/**
 * What is told of a step that was not finite, with the batch saved. On several ranks the first one saves it, and the others wait
 * until it is there: all of them throw this, and the first to throw ends the others.
 */
export function withReplay(
  error: TrainMoeError,
  trainer: Trainer,
  config: RunConfig,
  ranks: Communicator | undefined,
): TrainMoeError {
  const path = join(config.out, `replay-step-${trainer.step + 1}`);
  if (isFirst(ranks)) saveReplay(path, trainer, config);
  ranks?.barrier('replay bundle');
  return new TrainMoeError(
    'not-finite',
    `Step ${trainer.step + 1}: ${error.message} The batch is in ${path}. To go on from the last checkpoint with a lower --train.optimizer.lr, give it as --model, and another --out.`,
    { cause: error },
  );
}

/** Saves what reproduces a bad step: configuration, step, batch. The weights are those of the last checkpoint. */
function saveReplay(folder: string, trainer: Trainer, config: RunConfig): void {
  mkdirSync(folder, { recursive: true });
  const batch = trainer.lastBatch;
  const plainly = ([name, value]: [string, unknown]) => [name, value instanceof Int32Array ? [...value] : value];
  const plain = batch && Object.fromEntries(Object.entries(batch).map(plainly));
  writeFileSync(join(folder, 'batch.json'), JSON.stringify(plain));
  writeFileSync(join(folder, 'run.json'), JSON.stringify({ step: trainer.step, config }, null, 2));
}
