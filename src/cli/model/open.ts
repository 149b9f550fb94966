import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { TrainMoeError } from '../../errors.js';
import { type LoadedModel, loadModel } from '../../models/folder.js';
import { addon } from '../../native.js';
import { chooseDevice, type Device } from '../../tensor/index.js';
import { loadTokenizer, type Tokenizer } from '../../tokenizer/index.js';
import { checkpointsFolder, LATEST_NAME } from '../../train/run/checkpoint.js';

export interface ModelOptions {
  readonly model: string;
  readonly tokenizer?: string | undefined;
  readonly device: string;
  readonly dtype: string;
  readonly threads?: number | undefined;
}

export interface OpenedModel {
  readonly model: LoadedModel;
  readonly device: Device;
}

/** A model folder as a user names it: a Hugging Face folder, a checkpoint, or a run folder (its newest checkpoint). */
export function modelFolder(path: string): string {
  const latest = join(checkpointsFolder(path), LATEST_NAME);
  if (existsSync(join(path, 'config.json'))) return path;
  if (existsSync(latest)) return latest;
  if (!existsSync(path))
    throw new TrainMoeError('not-found', `${path} does not exist; give a model folder or a run folder.`);
  return path;
}

export function openModel(options: Omit<ModelOptions, 'tokenizer'>, train = false): OpenedModel {
  if (options.dtype !== 'f32' && options.dtype !== 'bf16')
    throw new TrainMoeError('bad-argument', `--dtype is "${options.dtype}"; it must be f32 or bf16.`);
  if (options.threads !== undefined) addon.setThreads(options.threads);
  const { device } = chooseDevice(options.device);
  return { model: loadModel(modelFolder(options.model), { device, dtype: options.dtype, train }), device };
}

/** The tokenizer named, or the one in the model's folder. */
export function openTokenizer({ model, tokenizer }: Pick<ModelOptions, 'model' | 'tokenizer'>): Tokenizer {
  return loadTokenizer(tokenizer ?? modelFolder(model));
}
