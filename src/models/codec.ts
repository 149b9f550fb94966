import { TrainMoeError } from '../errors.js';
import { transposed } from '../hub/numbers.js';
import { type InitOptions, initialize, namedParams, type Param, type Specs, trainedOf } from '../nn/param.js';
import type { Trained } from '../optim/adamw.js';
import { bytesOf, namedTensors, sizeOf, type Tensor } from '../tensor/index.js';
import { roomOf, roomWithSwap } from '../tensor/room.js';
import { formatBytes } from '../terminal/format.js';
import type { Family, HubPiece, Model } from './family.js';

/** Values of one tensor on disk as floats; undefined when there is none of that name. */
export type ReadTensor = (name: string) => Float32Array | undefined;

/** Told a weight and its values. */
export type GiveWeight = (tensor: Tensor, values: Float32Array) => void;

/** A tensor to be written under its name on disk. */
export interface NamedValues {
  readonly name: string;
  readonly shape: readonly number[];
  /** The values, read from the device when asked for. */
  values(): Float32Array;
  /** Kept in f32 even in a bf16 checkpoint. */
  readonly f32: boolean;
}

/**
 * A model of that configuration with new random weights; without a seed they are left to be loaded.
 *
 *     createModel(deepseekV3, { ...deepseekV3.presets.micro!, vocabulary: 8192 }, { device, dtype: 'f32', seed: 1 });
 *
 * @throws TrainMoeError `out-of-memory` when there is not so much memory for the weights alone
 */
export function createModel<C, W>(family: Family<C, W>, config: C, options: InitOptions): Model<C, W> {
  refuseTooLarge(family.specs(config), options);
  return { family, config, weights: initialize(family.specs(config), options) as W, dtype: options.dtype };
}

function refuseTooLarge(specs: Specs, { device, dtype }: InitOptions): void {
  const bytes = namedParams(specs).reduce((sum, [, p]) => sum + sizeOf(p.shape) * bytesOf(p.f32 ? 'f32' : dtype), 0);
  if (bytes <= roomWithSwap(device)) return;
  const narrower = dtype === 'f32' ? ', the type bf16' : '';
  throw new TrainMoeError(
    'out-of-memory',
    `The weights take ${formatBytes(bytes)} in ${dtype}, but ${device.name} has ${formatBytes(roomOf(device))}; take a smaller model${narrower} or a larger device.`,
  );
}

/**
 * Fills a model's weights from tensors named as Hugging Face names them.
 * @throws TrainMoeError `bad-data` naming every tensor that is missing, or one whose size is wrong.
 */
export function loadWeights(model: Model, read: ReadTensor): void {
  readWeights(model, read, (tensor, values) => tensor.write(values));
}

/** As loadWeights(), but `give` is told the values of each weight in f32, whatever the type of the model. */
export function readWeights(model: Model, read: ReadTensor, give: GiveWeight): void {
  const missing: string[] = [];
  for (const { path, param, tensor } of parametersOf(model)) {
    const values = new Float32Array(sizeOf(param.shape));
    for (const piece of model.family.hubPieces(model.config, path, param)) {
      const part = read(piece.name);
      if (!part) missing.push(piece.name);
      else if (part.length !== sizeOf(piece.shape))
        throw new TrainMoeError(
          'bad-data',
          `The tensor ${piece.name} has ${part.length} values; config.json asks for [${piece.shape}].`,
        );
      else values.set(piece.transposed ? transposed(part, ...sidesOf(piece)) : part, piece.offset);
    }
    if (missing.length === 0) give(tensor, values);
  }
  if (missing.length > 0) {
    const shown = missing.slice(0, 5).join(', ') + (missing.length > 5 ? ` and ${missing.length - 5} more` : '');
    throw new TrainMoeError('bad-data', `The checkpoint lacks ${shown}; is it complete and of this configuration?`);
  }
}

/** Rows and columns of a matrix on disk, whose columns may be told as heads and their channels. */
const sidesOf = ({ shape: [rows, ...columns] }: HubPiece) => [rows!, sizeOf(columns)] as const;

/** Every parameter of a model with its path, specification and tensor. */
export function parametersOf(
  model: Model,
): { readonly path: string; readonly param: Param; readonly tensor: Tensor }[] {
  const params = new Map(namedParams(model.family.specs(model.config)));
  return namedTensors(model.weights).map(([path, tensor]) => ({ path, param: params.get(path)!, tensor }));
}

/** The weights that an optimizer trains, under their paths; buffers follow rules of their own. */
export const trainedParameters = (model: Model): Trained[] =>
  trainedOf(model.family.specs(model.config), model.weights);

/** Gives a model's memory back; it is not to be used after that. */
export function disposeModel(model: Model): void {
  for (const { tensor } of parametersOf(model)) tensor.dispose();
}

/**
 * The tensors of a model under their names on disk. `valuesOf` says which values: the weights (default), masters,
 * gradients, averages.
 */
export function hubTensors(
  model: Model,
  valuesOf: (tensor: Tensor, path: string) => Float32Array = (t) => t.read(),
): NamedValues[] {
  return parametersOf(model).flatMap(({ path, param, tensor }) => {
    let cached: Float32Array | undefined;
    const pieces = model.family.hubPieces(model.config, path, param);
    let left = pieces.length;
    const values = () => {
      cached ??= valuesOf(tensor, path);
      const whole = cached;
      if (--left === 0) cached = undefined; // pieces are read one after the other; then the copy is let go
      return whole;
    };
    return pieces.map((piece) => ({
      name: piece.name,
      shape: piece.shape,
      f32: param.buffer,
      values: () => {
        const part = values().subarray(piece.offset, piece.offset + sizeOf(piece.shape));
        const [inner, outer] = sidesOf(piece);
        return piece.transposed ? transposed(part, outer, inner) : part;
      },
    }));
  });
}
