import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TrainMoeError } from '../errors.js';
import { writeText } from '../hub/byte_sink.js';
import type { Config } from '../hub/config_json.js';
import { fileDTypeOf } from '../hub/dtype.js';
import { writeModelFolder } from '../hub/folder.js';
import { openSafetensors, writeSafetensors } from '../hub/safetensors.js';
import { parametersOf } from '../models/codec.js';
import type { Model } from '../models/family.js';
import { modelContent } from '../models/folder.js';
import type { AdamW } from '../optim/adamw.js';
import { bytesOf, type Tensor } from '../tensor/index.js';
import type { Tokenizer } from '../tokenizer/index.js';
import { type Saved, saveCheckpoint } from '../train/run/checkpoint.js';
import { writeTokenizerFiles } from '../train/run/tokenizer_files.js';

/** What a run trains, and what else must come back for it to go on with the same bits. */
export interface Trained {
  /** Names the kind of run in the checkpoint: `trainer/NAME.json` and `.safetensors`. */
  readonly name: string;
  /** What people call it, in sentences. */
  readonly title: string;
  readonly model: Model;
  readonly optimizer: AdamW;
  readonly tokenizer: Tokenizer | undefined;
  /** The Jinja text of the chat template it was trained with. */
  readonly chatTemplate?: string | undefined;
  readonly base?: Config | undefined;
  /** Further tensors, by name. */
  readonly tensors?: readonly (readonly [name: string, tensor: Tensor])[];
}

/** The place a run has reached, as JSON. */
export interface Place {
  readonly step: number;
}

const stateFile = (name: string) => `trainer/${name}.json`;
const tensorFile = (name: string) => `trainer/${name}.safetensors`;

/** Saves everything that a run needs to go on bit for bit; the folder also loads as a Hugging Face model. */
export function saveTrained(t: Trained, out: string, keep: number, place: Place): Saved {
  const valuesOf = (tensor: Tensor) => t.optimizer.masterOf(tensor).read();
  return saveCheckpoint(
    out,
    place.step,
    (folder) => {
      writeModelFolder(folder, modelContent(t.model, { dtype: 'f32', valuesOf, ...(t.base && { base: t.base }) }));
      if (t.tokenizer) writeTokenizerFiles(folder, t.tokenizer, { template: t.chatTemplate });
      writeText(folder, stateFile(t.name), JSON.stringify({ ...place, updates: t.optimizer.steps }, null, 2));
      const tensors = new Map([...weightsOf(t.model), ...t.optimizer.state(), ...(t.tensors ?? [])]);
      const specs = [...tensors].map(([name, tensor]) => ({
        name,
        shape: tensor.shape,
        dtype: fileDTypeOf(tensor.dtype),
      }));
      folder.file(tensorFile(t.name), (sink) =>
        writeSafetensors(sink, specs, ({ name }) => tensors.get(name)!.readBytes()),
      );
    },
    { keep },
  );
}

/** Goes on from a checkpoint. @throws TrainMoeError `bad-data` when it is of another kind, model, type or setting. */
export function restoreTrained<P extends Place>(t: Trained, path: string): P {
  if (!existsSync(join(path, stateFile(t.name))))
    throw new TrainMoeError(
      'bad-data',
      `${path} is no checkpoint of ${t.title}; give --out another folder, and this one as --model to start from it.`,
    );
  const { updates, ...place } = JSON.parse(readFileSync(join(path, stateFile(t.name)), 'utf8'));
  const file = openSafetensors(join(path, tensorFile(t.name)));
  const read = (name: string, into: Tensor): boolean => {
    const stored = file.tensors.get(name);
    if (stored?.byteLength !== into.size * bytesOf(into.dtype)) return false;
    into.writeBytes(stored.read());
    return true;
  };
  try {
    for (const [name, tensor] of [...weightsOf(t.model), ...(t.tensors ?? [])])
      if (!read(name, tensor))
        throw new TrainMoeError(
          'bad-data',
          `${path} lacks ${name} in the size and type of this run; go on with the settings it was started with, or use another --out.`,
        );
    t.optimizer.restore(updates, read);
  } finally {
    file.close();
  }
  return place as P;
}

function weightsOf(model: Model): [string, Tensor][] {
  return parametersOf(model).map(({ path, tensor }) => [`weight.${path}`, tensor]);
}
