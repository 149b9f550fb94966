import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { TrainMoeError } from '../../errors.js';
import { checkpointsFolder, LATEST_NAME } from './checkpoint.js';

/**
 * A model as people name it: a Hugging Face folder, a checkpoint, or a run folder, whose newest checkpoint is meant.
 * @throws TrainMoeError `not-found` when there is nothing of that name.
 */
export function modelFolder(path: string): string {
  if (existsSync(join(path, 'config.json'))) return path;
  const latest = join(checkpointsFolder(path), LATEST_NAME);
  if (existsSync(latest)) return latest;
  if (existsSync(path)) return path;
  throw new TrainMoeError('not-found', `${path} does not exist; give a model folder or a run folder.`);
}
