import type { Config } from '../hub/config_json.js';
import { writeModelFolder } from '../hub/folder.js';
import { parametersOf } from '../models/codec.js';
import type { Model } from '../models/family.js';
import { modelContent } from '../models/folder.js';
import type { Tensor } from '../tensor/index.js';
import type { Tokenizer } from '../tokenizer/index.js';
import { type Saved, saveCheckpoint } from '../train/run/checkpoint.js';
import { type Place, type RunState, readRunState, writeRunState } from '../train/run/state.js';
import { writeTokenizerFiles } from '../train/run/tokenizer_files.js';

/** What a run trains, and what else must come back for it to go on with the same bits. */
export interface Trained extends Omit<RunState, 'tensors'> {
  readonly model: Model;
  readonly tokenizer: Tokenizer | undefined;
  /** The Jinja text of the chat template it was trained with. */
  readonly chatTemplate?: string | undefined;
  readonly base?: Config | undefined;
  /** Tensors beside the weights, by name. */
  readonly tensors?: readonly (readonly [name: string, tensor: Tensor])[];
}

/**
 * Saves everything that a run needs to go on bit for bit; the folder also loads as a Hugging Face model.
 * @param out another folder than the run's
 */
export function saveTrained(t: Trained, keep: number, place: Place, out = t.out): Saved {
  const valuesOf = (tensor: Tensor) => t.optimizer.masterOf(tensor).read();
  return saveCheckpoint(
    out,
    place.step,
    (folder) => {
      writeModelFolder(folder, modelContent(t.model, { dtype: 'f32', valuesOf, ...(t.base && { base: t.base }) }));
      if (t.tokenizer) writeTokenizerFiles(folder, t.tokenizer, { template: t.chatTemplate });
      writeRunState(folder, stateOf(t), place);
    },
    { keep },
  );
}

/**
 * Goes on from a checkpoint.
 * @throws TrainMoeError `bad-data` when it is of another kind, model, type or content, `bad-config` when of other settings
 */
export const restoreTrained = <P extends Place>(t: Trained, path: string): P => readRunState<P>(stateOf(t), path);

function stateOf({ model, tensors = [], ...state }: Trained): RunState {
  const weights = parametersOf(model).map(({ path, tensor }) => [`weight.${path}`, tensor] as const);
  return { ...state, tensors: [...weights, ...tensors] };
}
