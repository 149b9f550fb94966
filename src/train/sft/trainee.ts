import type { FolderSink } from '../../hub/byte_sink.js';
import { parametersOf } from '../../models/codec.js';
import type { LoadedModel } from '../../models/folder.js';
import type { Trained } from '../../optim/adamw.js';
import type { Tensor } from '../../tensor/index.js';

/** A model and the part of it that is trained. */
export interface Trainee {
  readonly model: LoadedModel;
  /** The model's own weights never change. */
  readonly frozen: boolean;
  readonly trained: readonly Trained[];
  /** Tensors that a checkpoint must hold to go on, besides the optimizer's. */
  state(): [string, Tensor][];
  /** Values of one of the model's weights as they are written for use; `master` gives the f32 values of a trained tensor. */
  valuesOf(weight: Tensor, master: (trained: Tensor) => Float32Array): Float32Array;
  /** Writes what the folder has besides the model. */
  write(folder: FolderSink, master: (trained: Tensor) => Float32Array): void;
  dispose(): void;
}

/** All weights are trained. */
export function wholeModel(model: LoadedModel): Trainee {
  const parameters = parametersOf(model);
  return {
    model,
    frozen: false,
    trained: parameters
      .filter(({ param }) => !param.buffer)
      .map(({ path, param, tensor }) => ({ name: path, tensor, decay: param.decay })),
    state: () => parameters.map(({ path, tensor }) => [`weight.${path}`, tensor]),
    valuesOf: (weight, master) => master(weight),
    write: () => {},
    dispose() {
      for (const { tensor } of parameters) tensor.dispose();
    },
  };
}
