import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { TrainMoeError } from '../../errors.js';
import { checkpointsFolder, LATEST_NAME } from './checkpoint.js';

/**
 * A model as people name it: a Hugging Face folder, a checkpoint, or a run folder, whose newest checkpoint is meant.
 * @throws TrainMoeError `not-found` when there is nothing of that name, or no model in it.
 */
export function modelFolder(path: string): string {
  if (existsSync(join(path, 'config.json'))) return path;
  const latest = join(checkpointsFolder(path), LATEST_NAME);
  if (existsSync(latest)) return latest;
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw new TrainMoeError('not-found', `${path} does not exist; give a model folder or a run folder.`);
  if (found.isFile()) return path;
  const why = existsSync(checkpointsFolder(path)) ? 'the run in it has no checkpoint yet' : 'config.json is not in it';
  throw new TrainMoeError('not-found', `${path} holds no model: ${why}; give a model folder or a run folder.`);
}
