import { TrainMoeError } from '../errors.js';

/**
 * The element types of safetensors files that are read and written here, with their bytes per element.
 *
 * The order is the order of tensors in a file: the reference writer puts later types of its own list first, which
 * keeps every tensor aligned to its element without padding. Keeping its order makes our files equal to its files.
 */
export const DTYPE_BYTES = {
  U64: 8,
  I64: 8,
  F64: 8,
  F32: 4,
  U32: 4,
  I32: 4,
  BF16: 2,
  F16: 2,
  U16: 2,
  I16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;

/** Element types of safetensors files. */
export type FileDType = keyof typeof DTYPE_BYTES;

export const FILE_DTYPES = Object.keys(DTYPE_BYTES) as readonly FileDType[];

const FILE_DTYPE_OF = { f32: 'F32', bf16: 'BF16', f64: 'F64', i32: 'I32', u8: 'U8' } as const;

/** The element type that a tensor's bytes are stored as. */
export const fileDTypeOf = (dtype: keyof typeof FILE_DTYPE_OF): FileDType => FILE_DTYPE_OF[dtype];

export function isFileDType(name: string): name is FileDType {
  return Object.hasOwn(DTYPE_BYTES, name);
}

/** Name, element type and shape: what a tensor is before its bytes are known. */
export interface TensorSpec {
  readonly name: string;
  readonly dtype: FileDType;
  readonly shape: readonly number[];
}

/** Bytes of a tensor, or undefined when the product passes 2^53 - 1 and so cannot be the size of any file. */
export function tensorBytes(dtype: FileDType, shape: readonly number[]): number | undefined {
  if (shape.includes(0)) return 0;
  let bytes: number = DTYPE_BYTES[dtype];
  for (const extent of shape) {
    // Both factors are exact integers below 2^53, so a product that rounds is above 2^53 and is caught here.
    bytes *= extent;
    if (!Number.isSafeInteger(bytes)) return undefined;
  }
  return bytes;
}

const ARRAY_OF = {
  U64: BigUint64Array,
  I64: BigInt64Array,
  F64: Float64Array,
  F32: Float32Array,
  U32: Uint32Array,
  I32: Int32Array,
  BF16: Uint16Array,
  F16: Uint16Array,
  U16: Uint16Array,
  I16: Int16Array,
  F8_E4M3: Uint8Array,
  F8_E5M2: Uint8Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const;

export type FileArray<D extends FileDType = FileDType> = InstanceType<(typeof ARRAY_OF)[D]>;

/**
 * The bytes of a tensor as the typed array that fits its elements; the 16-bit and 8-bit float types come as their bit
 * patterns. Shares memory with `bytes` where alignment allows, and copies otherwise.
 */
export function asArray<D extends FileDType>(dtype: D, bytes: Uint8Array): FileArray<D> {
  requireLittleEndian();
  const width = DTYPE_BYTES[dtype];
  const aligned = bytes.byteOffset % width === 0 ? bytes : bytes.slice();
  const type = ARRAY_OF[dtype] as unknown as new (
    buffer: ArrayBufferLike,
    byteOffset: number,
    length: number,
  ) => FileArray<D>;
  return new type(aligned.buffer, aligned.byteOffset, aligned.byteLength / width);
}

/** The bytes of a typed array, sharing its memory. */
export function asBytes(array: ArrayBufferView): Uint8Array {
  requireLittleEndian();
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** The format is little-endian, and so is every processor this package has kernels for. */
function requireLittleEndian(): void {
  if (!littleEndian) throw new TrainMoeError('no-device', 'train-moe needs a little-endian processor.');
}
