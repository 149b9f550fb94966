import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunConfig } from '../config/index.js';
import type { Trainer } from './trainer.js';

/** Saves what reproduces a bad step: configuration, step, batch. The weights are those of the last checkpoint. */
export function saveReplay(folder: string, trainer: Trainer, config: RunConfig): string {
  mkdirSync(folder, { recursive: true });
  const batch = trainer.lastBatch;
  const plainly = ([name, value]: [string, unknown]) => [name, value instanceof Int32Array ? [...value] : value];
  const plain = batch && Object.fromEntries(Object.entries(batch).map(plainly));
  writeFileSync(join(folder, 'batch.json'), JSON.stringify(plain));
  writeFileSync(join(folder, 'run.json'), JSON.stringify({ step: trainer.step, config }, null, 2));
  return folder;
}
