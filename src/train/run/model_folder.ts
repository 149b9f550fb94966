import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { checkpointsFolder, LATEST_NAME } from './checkpoint.js';

/** A model as people name it: a Hugging Face folder, a checkpoint, or a run folder, whose newest checkpoint is meant. */
export function modelFolder(path: string): string {
  const latest = join(checkpointsFolder(path), LATEST_NAME);
  return !existsSync(join(path, 'config.json')) && existsSync(latest) ? latest : path;
}
