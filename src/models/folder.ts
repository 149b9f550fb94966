import { TrainMoeError } from '../errors.js';
import { type Config, EMPTY_CONFIG, withValues } from '../hub/config_json.js';
import type { TensorSpec } from '../hub/dtype.js';
import { type ModelContent, type ModelFolder, openModelFolder } from '../hub/folder.js';
import { f32ToBf16 } from '../hub/numbers.js';
import type { Device, Tensor } from '../tensor/index.js';
import { createModel, disposeModel, type GiveWeight, hubTensors, type ReadTensor, readWeights } from './codec.js';
import { type Family, type Model, whyMute } from './family.js';
import { familyOfHub } from './index.js';
import { openMapped } from './mapped_file.js';

/** Where and how a model is loaded. */
export interface LoadOptions {
  /** Where its weights will lie and it computes. */
  readonly device: Device;
  /** Type of the weights; default 'f32'. What a model needs in f32 (norms, routers) stays so. */
  readonly dtype?: 'f32' | 'bf16';
  /** Gradients will be taken. */
  readonly train?: boolean;
}

/** A model with the config.json it came with, whose unknown keys are kept for writing it back. */
export interface LoadedModel extends Model {
  /** Its config.json. */
  readonly hubConfig: Config;
  /** Reads its weights from the folder again, not rounded to the type of the model: what the masters of a bf16 model begin with. */
  exact(give: GiveWeight): void;
}

/** How names of models that score texts end in config.json: sequence classifiers with one label. */
export const SCORING = 'ForSequenceClassification';

/** Whether a config.json is that of a model that scores texts. */
export const isScoring = (hub: Readonly<Record<string, unknown>>): boolean =>
  String((hub.architectures as readonly unknown[] | undefined)?.[0] ?? '').endsWith(SCORING);

/**
 * Loads a Hugging Face folder of a family we know.
 * @throws TrainMoeError `not-found`, `bad-config` or `bad-data` with the file's name.
 */
export function loadModel(path: string, options: LoadOptions): LoadedModel {
  return loadFolder(path, options, (hub) => {
    const family = familyOfHub(hub);
    // Classifiers of other families are no reward models; fromHub() refuses them.
    if (!isScoring(hub) || whyMute(family) !== undefined) return { family };
    throw new TrainMoeError(
      'bad-config',
      `${path} is a reward model, which scores texts and cannot write them; give a language model.`,
    );
  });
}

/**
 * As loadModel(), of a model that writes.
 * @throws TrainMoeError `bad-config` also of one that cannot: an encoder, XLNet
 */
export function loadDecoder(path: string, options: LoadOptions): LoadedModel {
  const why = whyMute(configOfFolder(path).family);
  if (why === undefined) return loadModel(path, options);
  throw new TrainMoeError('bad-config', `${path} is ${why}; give a model such as llama, deepseek or gpt2.`);
}

/**
 * The family and configuration of a folder's model, without its weights.
 * @throws TrainMoeError `not-found` or `bad-config`
 */
export function configOfFolder(path: string): { readonly family: Family; readonly config: unknown } {
  const folder = openModelFolder(path);
  try {
    if (!folder.config) throw noConfig(path);
    const family = familyOfHub(folder.config.values);
    return { family, config: checkedConfig(family, folder.config.values, path) };
  } finally {
    folder.close();
  }
}

const noConfig = (path: string): TrainMoeError =>
  new TrainMoeError('not-found', `${path} has no config.json; give the folder of a model.`);

/**
 * The configuration that a folder's config.json is.
 * @throws TrainMoeError `bad-config` naming every size that is missing or that the family cannot have
 */
function checkedConfig(family: Family, hub: Readonly<Record<string, unknown>>, path: string): unknown {
  const config = family.fromHub(hub);
  const { error } = family.schema.safeParse(config);
  if (!error) return config;
  const faults = error.issues.map(({ path: at, message }) => {
    const value = at.reduce<unknown>(
      (inside, key) => (inside as Record<PropertyKey, unknown> | undefined)?.[key],
      config,
    );
    return `${at.join('.')} ${Number.isNaN(value) ? 'is missing or no number' : `is ${JSON.stringify(value)}: ${message}`}`;
  });
  throw new TrainMoeError(
    'bad-config',
    `The config.json of ${path} does not give the sizes of a ${family.name} model: ${faults.join('; ')}.`,
  );
}

/** As loadModel(), of the family that `choose` names; `absent` gives tensors that the folder may lack. */
export function loadFolder(
  path: string,
  options: LoadOptions,
  choose: (hub: Readonly<Record<string, unknown>>) => { readonly family: Family; readonly absent?: ReadTensor },
): LoadedModel {
  const folder = openModelFolder(path, openMapped);
  try {
    if (!folder.config) throw noConfig(path);
    const { family, absent } = choose(folder.config.values);
    const config = checkedConfig(family, folder.config.values, path);
    const model = createModel(family, config, {
      device: options.device,
      dtype: options.dtype ?? 'f32',
      train: options.train ?? false,
    });
    const fill = ({ tensors }: ModelFolder, give: GiveWeight) =>
      readWeights(
        model,
        (name) => {
          const stored = [name, ...(family.oldNames?.(name) ?? [])].find((known) => tensors.has(known));
          return stored === undefined ? absent?.(name) : tensors.read(stored);
        },
        give,
      );
    try {
      fill(folder, (tensor, values) => tensor.write(values));
    } catch (error) {
      disposeModel(model);
      throw error;
    }
    return { ...model, hubConfig: folder.config, exact: (give) => withFolder(path, (again) => fill(again, give)) };
  } finally {
    folder.close();
  }
}

function withFolder(path: string, body: (folder: ModelFolder) => void): void {
  const folder = openModelFolder(path, openMapped);
  try {
    body(folder);
  } finally {
    folder.close();
  }
}

/** transformers 5 calls it `dtype`, released files `torch_dtype`: the keys that a config.json has say the same. */
function typeKeys(base: Config | undefined, type: string): Record<string, string> {
  const there = ['dtype', 'torch_dtype'].filter((key) => base?.values[key] !== undefined);
  return Object.fromEntries((there.length > 0 ? there : ['torch_dtype']).map((key) => [key, type]));
}

/** Padding, first and last token as the file had them: families know those of released models only. */
const tokenKeys = (base: Config | undefined): Record<string, unknown> =>
  Object.fromEntries(Object.entries(base?.values ?? {}).filter(([key]) => key.endsWith('_token_id')));

/** What a Hugging Face folder of this model holds; see writeModelFolder(). Correction biases stay f32. */
export function modelContent(
  model: Model,
  options: {
    readonly dtype: 'f32' | 'bf16';
    /** The config.json it came with: keys we do not know are kept. */
    readonly base?: Config;
    readonly valuesOf?: (tensor: Tensor) => Float32Array;
  },
): ModelContent {
  const tensors = hubTensors(model, options.valuesOf);
  const byName = new Map(tensors.map((t) => [t.name, t]));
  const narrow = (name: string) => options.dtype === 'bf16' && !byName.get(name)!.f32;
  return {
    config: withValues(options.base ?? EMPTY_CONFIG, {
      ...model.family.toHub(model.config),
      ...tokenKeys(options.base),
      ...typeKeys(options.base, options.dtype === 'bf16' ? 'bfloat16' : 'float32'),
    }),
    tensors: tensors.map(({ name, shape }): TensorSpec => ({ name, shape, dtype: narrow(name) ? 'BF16' : 'F32' })),
    data: ({ name }) => {
      const values = byName.get(name)!.values();
      const stored = narrow(name) ? f32ToBf16(values) : values;
      return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
    },
  };
}
