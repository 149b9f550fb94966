import { TrainMoeError } from '../errors.js';
import type { ByteSink } from './byte_sink.js';
import { type ByteSource, openFile } from './byte_source.js';
import { FILE_DTYPES, type TensorSpec, tensorBytes } from './dtype.js';
import { encodeHeader, MAX_HEADER_BYTES, parseHeader, type TensorEntry } from './safetensors_header.js';

/** A tensor in a file, not yet read. */
export interface StoredTensor extends TensorSpec {
  /** From the start of the file. */
  readonly byteOffset: number;
  readonly byteLength: number;
  /**
   * The little-endian bytes of the elements, row by row. Fills and returns `into` (of `byteLength` bytes) when given;
   * otherwise returns a new array, or a read-only view when the file is memory-mapped.
   */
  read(into?: Uint8Array): Uint8Array;
}

/** An open safetensors file. Nothing but the header is in memory. */
export interface SafetensorsFile {
  readonly path: string;
  readonly metadata: ReadonlyMap<string, string>;
  /** In the order of the file. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  close(): void;
}

/**
 * Opens a safetensors file and checks its whole header against the size of the file (see `parseHeader`), so that no
 * length written in the file can make us allocate more than the file itself holds.
 *
 * Throws `not-found` when it cannot be opened, `bad-data` when it is not a well-formed safetensors file.
 */
export function openSafetensors(path: string, open: (path: string) => ByteSource = openFile): SafetensorsFile {
  const source = open(path);
  try {
    const header = readHeader(source);
    const { metadata, tensors } = parseHeader(header, source.size - 8 - header.length, path);
    const start = 8 + header.length;
    const stored = tensors.map((entry) => [entry.name, storedTensor(entry, start, source)] as const);
    return { path, metadata, tensors: new Map(stored), close: () => source.close() };
  } catch (error) {
    source.close();
    throw error;
  }
}

function readHeader(source: ByteSource): Uint8Array {
  if (source.size < 8) {
    const found = `${source.path} is ${source.size} bytes long`;
    throw new TrainMoeError('bad-data', `${found}, but a safetensors file begins with an 8-byte length.`);
  }
  const prefix = Buffer.alloc(8);
  source.read(0, prefix);
  const length = prefix.readBigUInt64LE();
  const limit = Math.min(source.size - 8, MAX_HEADER_BYTES);
  if (length > limit) {
    const found = `${source.path} announces a header of ${length} bytes`;
    const wanted = `at most ${limit} are possible in a file of ${source.size} bytes`;
    throw new TrainMoeError('bad-data', `${found}, but ${wanted}: it is damaged or not a safetensors file.`);
  }
  const header = new Uint8Array(Number(length));
  source.read(8, header);
  return header;
}

function storedTensor(entry: TensorEntry, start: number, source: ByteSource): StoredTensor {
  const { name, dtype, shape } = entry;
  const byteOffset = start + entry.begin;
  const byteLength = entry.end - entry.begin;
  const read = (into?: Uint8Array): Uint8Array => {
    if (into === undefined && source.view !== undefined) return source.view(byteOffset, byteLength);
    if (into !== undefined && into.byteLength !== byteLength) {
      const wanted = `${dtype}[${shape}] has ${byteLength}`;
      throw new TrainMoeError('bad-argument', `Tensor ${name}: ${into.byteLength} bytes to fill, but ${wanted}.`);
    }
    const target = into ?? new Uint8Array(byteLength);
    source.read(byteOffset, target);
    return target;
  };
  return { name, dtype, shape, byteOffset, byteLength, read };
}

/** Supplies the bytes of a tensor when its turn to be written comes, whole or in pieces. */
export type TensorBytes = (spec: TensorSpec) => Uint8Array | Iterable<Uint8Array>;

/**
 * Writes a safetensors file: header first, then one tensor after the other as `data` supplies them, so that no more
 * than one needs to be in memory. Tensors go by element type and name, which makes the bytes independent of the order
 * of `specs` and equal to those of the reference writer.
 *
 * Throws `bad-argument` for a name given twice, a shape that is not one, or data of another length than its shape has.
 */
export function writeSafetensors(
  sink: ByteSink,
  specs: readonly TensorSpec[],
  data: TensorBytes,
  metadata: Readonly<Record<string, string>> = {},
): void {
  const entries = layOut(specs);
  const header = encodeHeader(entries, new Map(Object.entries(metadata)));
  if (header.length - 8 > MAX_HEADER_BYTES) {
    const found = `${specs.length} tensors need a header of ${header.length - 8} bytes`;
    throw new TrainMoeError('bad-argument', `${found}, but the format allows ${MAX_HEADER_BYTES}: use smaller shards.`);
  }
  sink(header, 'header');
  for (const entry of entries) {
    const supplied = data(entry);
    let left = entry.end - entry.begin;
    for (const piece of supplied instanceof Uint8Array ? [supplied] : supplied) {
      left -= piece.byteLength;
      if (left < 0) break;
      sink(piece, entry.name);
    }
    if (left !== 0) {
      const wanted = `${entry.dtype}[${entry.shape}] has ${entry.end - entry.begin} bytes`;
      const found = left > 0 ? `${left} bytes too few` : 'too many bytes';
      throw new TrainMoeError('bad-argument', `Tensor ${entry.name}: ${wanted}, but ${found} were supplied.`);
    }
  }
}

/** Orders tensors as in the file and gives each its place. */
function layOut(specs: readonly TensorSpec[]): TensorEntry[] {
  const names = new Set<string>();
  for (const { name } of specs) {
    if (names.has(name) || name === '__metadata__') {
      throw new TrainMoeError('bad-argument', `A tensor is named ${name}, but that name is taken in this file.`);
    }
    names.add(name);
  }
  const rank = (spec: TensorSpec) => FILE_DTYPES.indexOf(spec.dtype);
  const ordered = [...specs].sort((a, b) => rank(a) - rank(b) || compareCodePoints(a.name, b.name));
  let end = 0;
  return ordered.map(({ name, dtype, shape }) => {
    const begin = end;
    end += checkedBytes({ name, dtype, shape });
    return { name, dtype, shape, begin, end };
  });
}

/** Bytes of a tensor that is to be written; a shape that is none throws `bad-argument`. */
export function checkedBytes({ name, dtype, shape }: TensorSpec): number {
  const bytes = shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0)
    ? tensorBytes(dtype, shape)
    : undefined;
  if (bytes !== undefined) return bytes;
  const wanted = 'extents must be integers from 0, and their product below 2^53 bytes';
  throw new TrainMoeError('bad-argument', `Tensor ${name} has the shape [${shape}], but ${wanted}.`);
}

/** The order of UTF-8 bytes, which UTF-16 units do not have above U+FFFF. */
function compareCodePoints(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
