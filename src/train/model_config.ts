import { checkSettings, type RunConfig } from '../config/index.js';
import { TrainMoeError } from '../errors.js';
import { configOfFolder } from '../models/folder.js';
import { type Family, presetNamed } from '../models/index.js';
import { modelFolder } from './run/model_folder.js';

/** The folder of the model that a run goes on from; undefined where it begins with random weights. */
export const modelToGoOnFrom = ({ model }: Pick<RunConfig, 'model'>): string | undefined =>
  typeof model === 'string' ? modelFolder(model) : undefined;

/** The family of the model that a run trains. */
export function familyOfRun(run: Pick<RunConfig, 'model' | 'preset'>): Family {
  const from = modelToGoOnFrom(run);
  return from === undefined ? presetNamed(run.preset).family : configOfFolder(from).family;
}

/**
 * The model of a run: that of a folder, or the preset's with the run's overrides and the tokenizer's vocabulary.
 * @throws TrainMoeError `bad-config` with every fault and its path.
 */
export function modelConfigFor(
  run: RunConfig,
  vocabulary: number,
): { readonly family: Family; readonly config: unknown } {
  const from = modelToGoOnFrom(run);
  const { family, config } = from === undefined ? shapeOf(run, vocabulary) : configOfFolder(from);
  const sizes = config as { readonly vocabulary: number; readonly context: number };
  const { length } = run.train;
  if (sizes.vocabulary < vocabulary)
    throw new TrainMoeError(
      'bad-config',
      from === undefined
        ? `model.vocabulary is smaller than the tokenizer's ${vocabulary} tokens; leave it out to take the tokenizer's.`
        : `The tokenizer has ${vocabulary} tokens, but the model in ${from} only ${sizes.vocabulary}; leave tokenizer.path out to take the model's.`,
    );
  if (sizes.context < length)
    throw new TrainMoeError(
      'bad-config',
      from === undefined
        ? `model.context = ${sizes.context} is shorter than train.length = ${length}; leave it out, or train on shorter rows.`
        : `train.length = ${length}, but the context of the model in ${from} is ${sizes.context} positions; train on shorter rows.`,
    );
  return { family, config };
}

function shapeOf({ preset, model, train, data, distill }: RunConfig, tokens: number) {
  const { family, config } = presetNamed(preset);
  const teacher = distill.teacher === undefined ? undefined : configOfFolder(modelFolder(distill.teacher));
  const vocabulary = teacher ? Math.max(tokens, teacher.family.vocabulary(teacher.config)) : tokens; // it may be padded
  const base = config as { readonly context?: number };
  const overrides = model as object;
  const context = base.context && { context: Math.max(base.context, train.length) }; // XLNet knows no limit
  const head = 'relation' in base && { relation: data.pairs !== 'none' }; // what nothing trains is left out
  const merged = { ...base, vocabulary, ...context, ...head, ...overrides };
  return { family, config: checkSettings(family.schema, merged, 'the model') };
}
