import { checkSettings, type RunConfig } from '../config/index.js';
import { TrainMoeError } from '../errors.js';
import { presetNamed } from '../models/index.js';

/**
 * The model of a run: the preset's, the run's overrides, and the tokenizer's vocabulary.
 * @throws TrainMoeError `bad-config` with every fault and its path.
 */
export function modelConfigFor({ preset, model, train }: RunConfig, vocabulary: number): unknown {
  const { family, config } = presetNamed(preset);
  const base = config as { readonly context: number };
  const merged = { ...base, vocabulary, context: Math.max(base.context, train.length), ...model };
  const sizes = checkSettings(family.schema, merged, 'the model');
  if ((sizes as { vocabulary: number }).vocabulary < vocabulary)
    throw new TrainMoeError(
      'bad-config',
      `model.vocabulary is smaller than the tokenizer's ${vocabulary} tokens; leave it out to take the tokenizer's.`,
    );
  const { context } = sizes as { context: number };
  if (context < train.length)
    throw new TrainMoeError(
      'bad-config',
      `model.context = ${context} is shorter than train.length = ${train.length}; leave it out, or train on shorter rows.`,
    );
  return sizes;
}
