import { TrainMoeError } from '../../errors.js';
import { type LoadedModel, loadModel } from '../../models/folder.js';
import { addon } from '../../native.js';
import { chooseDevice, type Device } from '../../tensor/index.js';
import { loadTokenizer, openTokenizer as openAny, type TextTokenizer, type Tokenizer } from '../../tokenizer/index.js';
import { modelFolder } from '../../train/run/model_folder.js';

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

/** The same of any kind, byte-level BPE or not: what encoders need. */
export function openTextTokenizer({ model, tokenizer }: Pick<ModelOptions, 'model' | 'tokenizer'>): TextTokenizer {
  return openAny(tokenizer ?? modelFolder(model));
}

/**
 * Refuses a tokenizer whose ids the model does not have.
 * @throws TrainMoeError `bad-argument`
 */
export function refuseLarger(
  { vocabSize, source }: Pick<TextTokenizer, 'vocabSize' | 'source'>,
  { family, config }: LoadedModel,
  { model }: Pick<ModelOptions, 'model'>,
): void {
  const vocabulary = family.vocabulary(config);
  if (vocabSize <= vocabulary) return;
  throw new TrainMoeError(
    'bad-argument',
    `The tokenizer ${source} has ${vocabSize} tokens, but the model ${model} only ${vocabulary}; give the model's own.`,
  );
}
