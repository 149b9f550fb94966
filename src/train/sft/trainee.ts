import type { FolderSink } from '../../hub/byte_sink.js';
import { disposeModel, parametersOf, trainedParameters } from '../../models/codec.js';
import type { LoadedModel } from '../../models/folder.js';
import { writeAdapter } from '../../models/peft.js';
import { addLora, type LoraConfig, mergedValues } from '../../nn/lora.js';
import type { Trained } from '../../optim/adamw.js';
import type { Device, Tensor } from '../../tensor/index.js';

/** A model and the part of it that is trained. */
export interface Trainee {
  readonly model: LoadedModel;
  /** The model's own weights never change. */
  readonly frozen: boolean;
  readonly trained: readonly Trained[];
  /** Told the step before its passes, and undefined after them. */
  inStep(step: number | undefined): void;
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
    trained: trainedParameters(model),
    inStep: () => {},
    state: () => parameters.map(({ path, tensor }) => [`weight.${path}`, tensor]),
    valuesOf: (weight, master) => master(weight),
    write: () => {},
    dispose: () => disposeModel(model),
  };
}

/**
 * Adapters are trained and the model is frozen; it must have been loaded without gradients. The folder has the merged
 * model, and the adapters by themselves in `adapter/` (PEFT).
 * @param base the model's path, which the adapter names
 */
export function adapters(
  model: LoadedModel,
  config: LoraConfig,
  options: { readonly device: Device; readonly seed: number; readonly base: string },
): Trainee {
  const { device, seed, base } = options;
  const parameters = parametersOf(model);
  const lora = addLora(parameters, config, { device, dtype: model.dtype, seed });
  const byWeight = new Map(lora.entries.map((entry) => [entry.weight, entry.adapter]));
  const tensors = lora.entries.flatMap(({ path, adapter: { a, b } }): [string, Tensor][] => [
    [`${path}.a`, a],
    [`${path}.b`, b],
  ]);
  return {
    model,
    frozen: true,
    trained: tensors.map(([name, tensor]) => ({ name, tensor, decay: true })),
    inStep: (step) => lora.seed(step),
    state: () => tensors.map(([name, tensor]) => [`lora.${name}`, tensor]),
    valuesOf(weight, master) {
      const adapter = byWeight.get(weight);
      const values = weight.read();
      if (!adapter) return values;
      const { a, b, scale } = adapter;
      return mergedValues(values, weight.shape, { a: master(a), b: master(b), scale }, device);
    },
    write(folder, master) {
      const inside: FolderSink = { file: (name, fill) => folder.file(`adapter/${name}`, fill) };
      writeAdapter(inside, model, lora, { base, valuesOf: master });
    },
    dispose() {
      lora.dispose();
      disposeModel(model);
    },
  };
}
