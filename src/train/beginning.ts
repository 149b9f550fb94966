import type { RunConfig, Settings } from '../config/index.js';
import { EMPTY_CONFIG, withValues } from '../hub/config_json.js';
import { createModel, disposeModel } from '../models/codec.js';
import type { Model } from '../models/family.js';
import { modelFingerprint } from '../models/fingerprint.js';
import { type LoadedModel, loadModel } from '../models/folder.js';
import type { Device } from '../tensor/index.js';
import type { TextTokenizer } from '../tokenizer/index.js';
import type { Corpus } from './corpus.js';
import { beginAsTeacher, openTeacher, teacherFolder } from './distill.js';
import { modelConfigFor, modelToGoOnFrom } from './model_config.js';
import { type Beginning, settingsToKeep } from './run/policy.js';
import { PRETRAINING } from './trainer.js';

/** The model of a folder, or one of random weights. */
export function firstModel(config: RunConfig, corpus: Corpus, device: Device): Model & Pick<LoadedModel, 'hubConfig'> {
  const options = { device, dtype: computeType(config, device), train: true };
  const { family, config: sizes } = modelConfigFor(config, corpus.tokenizer.vocabSize);
  const from = modelToGoOnFrom(config);
  if (from !== undefined) return loadModel(from, options);
  const hubConfig = withValues(EMPTY_CONFIG, tokenIdsOf(family.toHub(sizes), sizes, corpus.tokenizer));
  const model = { ...createModel(family, sizes, { ...options, seed: config.train.seed }), hubConfig };
  const teacher = config.distill.begin ? openTeacher(config, model, device)?.model : undefined;
  if (!teacher) return model;
  try {
    beginAsTeacher(model, teacher);
    return model;
  } finally {
    disposeModel(teacher);
  }
}

/** Ids of special tokens that a family writes into config.json, which are those of released models, as this tokenizer has them. */
function tokenIdsOf(hub: Settings, sizes: unknown, tokenizer: TextTokenizer): Settings {
  const { padId, bosId, clsId, eosId, sepId } = tokenizer;
  const own = { pad_token_id: padId, bos_token_id: bosId ?? clsId, eos_token_id: eosId ?? sepId };
  const decides = 'pad' in (sizes as object); // RoBERTa: positions count from it
  return Object.fromEntries(
    Object.entries(own).filter(([key, id]) => id !== undefined && key in hub && !(decides && key === 'pad_token_id')),
  );
}

/** The settings with the type that "auto" means on this device, and without a preset where none decides. */
export function decidedBy(run: RunConfig, device: Device): Settings {
  const { preset, ...config } = run;
  return {
    ...(typeof config.model !== 'string' && { preset }), // first, for it is what is told first
    ...config,
    train: { ...config.train, dtype: computeType(run, device) },
  };
}

/** What a run is begun with: a checkpoint of it goes on with nothing else. */
export function beginningOf(config: RunConfig, { tokenizer, tokens }: Corpus, device: Device): Beginning {
  const from = modelToGoOnFrom(config);
  const teacher = teacherFolder(config);
  return {
    settings: settingsToKeep(PRETRAINING.name, decidedBy(config, device)),
    content: {
      ...(from !== undefined && { model: modelFingerprint(from) }),
      ...(teacher !== undefined && { teacher: modelFingerprint(teacher) }),
      tokenizer: tokenizer.fingerprint,
      text: tokens.split('train').fingerprint,
    },
  };
}

/** "auto": bf16 where the device multiplies it faster, else f32. */
export function computeType({ train }: RunConfig, device: Device): 'f32' | 'bf16' {
  return train.dtype !== 'auto' ? train.dtype : device.fastBf16 ? 'bf16' : 'f32';
}
