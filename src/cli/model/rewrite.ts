import { copyFileSync, existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { TrainMoeError } from '../../errors.js';
import { ioError } from '../../hub/io_error.js';
import { mergeAdapter } from '../../models/peft.js';
import { saveModel } from '../../models/save.js';
import { countParameters } from '../../nn/param.js';
import { formatCount } from '../../terminal/format.js';
import { modelFolder } from '../../train/run/model_folder.js';
import { openModel } from './open.js';

/** Files besides weights that a model folder may have. */
const COMPANIONS = [
  'tokenizer.json',
  'tokenizer_config.json',
  'vocab.txt',
  'vocab.json',
  'merges.txt',
  'spiece.model',
  'added_tokens.json',
  'generation_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
];

/** What is written, and where. */
export interface ExportOptions {
  readonly model: string;
  readonly out: string;
  readonly dtype: string;
  /** A LoRA adapter to merge into the model. */
  readonly adapter?: string | undefined;
}

/** Loads a model and writes it as a Hugging Face folder, which appears whole or not at all; returns a sentence that says what was written. */
export function rewriteModel({ model: from, out, dtype, adapter }: ExportOptions): string {
  if (existsSync(out)) throw new TrainMoeError('bad-argument', `${out} exists already; name a folder that does not.`);
  const { model, device } = openModel({ model: from, device: 'cpu', dtype: 'f32' });
  if (dtype !== 'f32' && dtype !== 'bf16')
    throw new TrainMoeError('bad-argument', `--dtype is "${dtype}"; it must be f32 or bf16.`);
  if (adapter !== undefined) mergeAdapter(model, adapter, device);
  const part = `${out}.${process.pid}.part`;
  try {
    saveModel(part, model, { dtype });
    for (const name of COMPANIONS) {
      const source = join(modelFolder(from), name);
      if (existsSync(source)) copyFileSync(source, join(part, name));
    }
    renameSync(part, out);
  } catch (cause) {
    if (existsSync(part)) rmSync(part, { recursive: true });
    throw ioError('write', out, cause);
  }
  return `Wrote ${out}: ${model.family.name}, ${formatCount(countParameters(model.family.specs(model.config)))} parameters in ${dtype}.`;
}
