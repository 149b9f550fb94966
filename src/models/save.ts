import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { TrainMoeError } from '../errors.js';
import { folderSink } from '../hub/byte_sink.js';
import { type Config, withValues } from '../hub/config_json.js';
import { writeModelFolder } from '../hub/folder.js';
import type { Model } from './family.js';
import { modelContent } from './folder.js';

/**
 * Writes a model as a Hugging Face folder: config.json with what it was loaded with, and its weights in `dtype` (default: that
 * of the model). `tokenizer.save(folder)` puts the tokenizer beside them.
 *
 *     saveModel('mine', model, { dtype: 'bf16' });
 *
 * @throws TrainMoeError `bad-argument` when the folder holds a model already, `io` when it cannot be written
 */
export function saveModel(
  folder: string,
  model: Model & { readonly hubConfig?: Config },
  { dtype = model.dtype }: { readonly dtype?: 'f32' | 'bf16' } = {},
): void {
  if (existsSync(join(folder, 'config.json')))
    throw new TrainMoeError('bad-argument', `${folder} holds a model already; name a folder that does not.`);
  // The weights are plain now, whatever they were stored as.
  const base = model.hubConfig && withValues(model.hubConfig, { quantization_config: undefined });
  writeModelFolder(folderSink(folder), modelContent(model, { dtype, ...(base && { base }) }));
}
