import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TrainMoeError } from '../errors.js';
import { writeText } from '../hub/byte_sink.js';
import type { Config } from '../hub/config_json.js';
import { writeModelFolder } from '../hub/folder.js';
import { openSafetensors, writeSafetensors } from '../hub/safetensors.js';
import { parametersOf } from '../models/codec.js';
import { modelContent } from '../models/folder.js';
import { bytesOf, type Tensor } from '../tensor/index.js';
import { type Saved, saveCheckpoint } from '../train/run/checkpoint.js';
import type { GrpoParts } from './grpo.js';

/** The place a run has reached. All chance comes from the settings' seed and the step, so nothing else need be kept. */
export interface GrpoPlace {
  readonly step: number;
  readonly nextQuestion: number;
}

/** What a checkpoint says of the run besides weights and moments. */
interface GrpoState extends GrpoPlace {
  readonly updates: number;
}

const STATE = 'trainer/grpo.json';
const TENSORS = 'trainer/grpo.safetensors';

type Stateful = Pick<GrpoParts, 'model' | 'optimizer' | 'reference' | 'tokenizer' | 'config'>;

/** Saves everything that the run needs to go on bit for bit; the folder also loads as a Hugging Face model. */
export function saveGrpo(parts: Stateful, place: GrpoPlace, base?: Config): Saved {
  const { model, optimizer, tokenizer, config } = parts;
  return saveCheckpoint(
    config.out,
    place.step,
    (folder) => {
      const valuesOf = (t: Tensor) => optimizer.masterOf(t).read();
      writeModelFolder(folder, modelContent(model, { dtype: 'f32', valuesOf, ...(base && { base }) }));
      if (tokenizer) writeText(folder, 'tokenizer.json', JSON.stringify(tokenizer.toJson()));
      const state: GrpoState = { step: place.step, nextQuestion: place.nextQuestion, updates: optimizer.steps };
      writeText(folder, STATE, JSON.stringify(state, null, 2));
      const tensors = new Map(stateTensors(parts));
      const specs = [...tensors].map(([name, t]) => ({
        name,
        shape: t.shape,
        dtype: t.dtype === 'bf16' ? ('BF16' as const) : ('F32' as const),
      }));
      folder.file(TENSORS, (sink) => writeSafetensors(sink, specs, ({ name }) => tensors.get(name)!.readBytes()));
    },
    { keep: config.keep },
  );
}

/**
 * Goes on from a checkpoint. @throws TrainMoeError `bad-data` when it is none of GRPO, or of another model, type or setting.
 */
export function restoreGrpo(parts: Stateful, path: string): GrpoPlace {
  if (!existsSync(join(path, STATE)))
    throw new TrainMoeError(
      'bad-data',
      `${path} is no checkpoint of GRPO; give --out another folder, and this one as --model to start from it.`,
    );
  const state = JSON.parse(readFileSync(join(path, STATE), 'utf8')) as GrpoState;
  const file = openSafetensors(join(path, TENSORS));
  const read = (name: string, into: Tensor): boolean => {
    const stored = file.tensors.get(name);
    if (stored?.byteLength !== into.size * bytesOf(into.dtype)) return false;
    into.writeBytes(stored.read());
    return true;
  };
  try {
    for (const [name, tensor] of [...weightsOf(parts), ...(parts.reference?.state() ?? [])])
      if (!read(name, tensor))
        throw new TrainMoeError(
          'bad-data',
          `${path} lacks ${name} in the size and type of this run; go on with the settings it was started with, or use another --out.`,
        );
    parts.optimizer.restore(state.updates, read);
  } finally {
    file.close();
  }
  return { step: state.step, nextQuestion: state.nextQuestion };
}

function weightsOf({ model }: Stateful): [string, Tensor][] {
  return parametersOf(model).map(({ path, tensor }) => [`weight.${path}`, tensor]);
}

function stateTensors(parts: Stateful): [string, Tensor][] {
  return [...weightsOf(parts), ...parts.optimizer.state(), ...(parts.reference?.state() ?? [])];
}
