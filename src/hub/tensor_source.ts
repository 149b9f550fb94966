import { TrainMoeError } from '../errors.js';
import { type BlockShape, blockCounts, dequantiseBlocks } from './blocks.js';
import { asArray, type TensorSpec } from './dtype.js';
import { bf16ToF32, e4m3ToF32, e5m2ToF32, f16ToF32 } from './numbers.js';
import type { StoredTensor } from './safetensors.js';
import { listed } from './shards.js';

/** The tensors of a model, wherever and however they are stored. */
export interface TensorSource {
  /** The file or folder, for error sentences. */
  readonly path: string;
  /** In the order of the files. The scales of quantised weights are not among them. */
  names(): readonly string[];
  has(name: string): boolean;
  /** What is stored. Throws `not-found` for a name that is not there. */
  info(name: string): TensorSpec & { readonly byteLength: number };
  /** The stored bytes, unconverted; see `StoredTensor.read`. */
  raw(name: string, into?: Uint8Array): Uint8Array;
  /**
   * The values of a float tensor, row by row. Narrow types are widened exactly, float64 is rounded, and an FP8 weight
   * is multiplied by its block scales. Throws `bad-argument` for integers, `bad-data` for scales of a wrong shape.
   * The array may be a view of a mapped file: do not write to it.
   */
  read(name: string): Float32Array;
  close(): void;
}

/** DeepSeek-V3's name for the factors of a quantised weight; despite it, values are codes times these. */
const SCALE_SUFFIX = '_scale_inv';

/**
 * Makes one source of stored tensors. An F8_E4M3 tensor `X` with a sibling `X_scale_inv` [ceil(rows / block.rows),
 * ceil(cols / block.cols)] reads as one float tensor `X`.
 */
export function tensorSource(
  path: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  block: BlockShape,
  close: () => void,
): TensorSource {
  const scaleOf = (tensor: StoredTensor): StoredTensor | undefined =>
    tensor.dtype === 'F8_E4M3' ? tensors.get(tensor.name + SCALE_SUFFIX) : undefined;
  const hidden = new Set([...tensors.values()].map((tensor) => scaleOf(tensor)?.name));
  const names = [...tensors.keys()].filter((name) => !hidden.has(name));
  const find = (name: string): StoredTensor => {
    const tensor = tensors.get(name);
    if (tensor !== undefined) return tensor;
    throw new TrainMoeError('not-found', `${path} has no tensor ${name}; it has ${listed(names)}.`);
  };
  return {
    path,
    names: () => names,
    has: (name) => tensors.has(name),
    info: find,
    raw: (name, into) => find(name).read(into),
    read: (name) => {
      const tensor = find(name);
      const scale = scaleOf(tensor);
      return scale === undefined ? widen(tensor, path) : dequantise(tensor, scale, block, path);
    },
    close,
  };
}

function widen(tensor: StoredTensor, path: string): Float32Array {
  const bytes = tensor.read();
  switch (tensor.dtype) {
    case 'F32':
      return asArray('F32', bytes);
    case 'F64':
      return Float32Array.from(asArray('F64', bytes));
    case 'BF16':
      return bf16ToF32(asArray('BF16', bytes));
    case 'F16':
      return f16ToF32(asArray('F16', bytes));
    case 'F8_E4M3':
      return e4m3ToF32(bytes);
    case 'F8_E5M2':
      return e5m2ToF32(bytes);
    default: {
      const found = `${path}: tensor ${tensor.name} holds ${tensor.dtype}, but floats were asked for`;
      throw new TrainMoeError('bad-argument', `${found}; read its bytes with raw() instead.`);
    }
  }
}

function dequantise(tensor: StoredTensor, scale: StoredTensor, block: BlockShape, path: string): Float32Array {
  const [rows, cols] = tensor.shape;
  if (rows === undefined || cols === undefined || tensor.shape.length !== 2) {
    const found = `${path}: tensor ${tensor.name} has the shape [${tensor.shape}]`;
    throw new TrainMoeError('bad-data', `${found}, but only matrices have block scales.`);
  }
  const wanted = blockCounts(rows, cols, block);
  if (String(scale.shape) !== String(wanted)) {
    const found = `${path}: ${scale.name} has the shape [${scale.shape}]`;
    const why = `${tensor.name}[${tensor.shape}] in blocks of ${block.rows} x ${block.cols} needs [${wanted}]`;
    throw new TrainMoeError('bad-data', `${found}, but ${why}.`);
  }
  return dequantiseBlocks({ codes: tensor.read(), scales: widen(scale, path) }, rows, cols, block);
}
