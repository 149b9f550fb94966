import { TrainMoeError } from '../errors.js';
import { FILE_DTYPES, type FileDType, isFileDType, type TensorSpec, tensorBytes } from './dtype.js';
import { JsonScanner } from './json_scanner.js';

/** The format's own limit on the JSON header. */
export const MAX_HEADER_BYTES = 100_000_000;

/** A tensor with its place in the data section: bytes `begin` to `end`. */
export interface TensorEntry extends TensorSpec {
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  /** Strings a writer left under `__metadata__`, usually `{format: 'pt'}`. */
  readonly metadata: ReadonlyMap<string, string>;
  /** In the order of the data section. */
  readonly tensors: readonly TensorEntry[];
}

/**
 * Reads the JSON header of a safetensors file whose data section is `dataBytes` long.
 *
 * Everything is checked before a tensor is touched: every key known and given once, every element type known, shape
 * and offsets agreeing in exact arithmetic, and the tensors covering the data section from its first to its last byte
 * without overlap or hole. Throws `bad-data` with the path and the tensor's name.
 *
 * Format: https://github.com/huggingface/safetensors#format
 */
export function parseHeader(header: Uint8Array, dataBytes: number, path: string): SafetensorsHeader {
  const scanner = new JsonScanner(decodeUtf8(header, path), path);
  let metadata: ReadonlyMap<string, string> = new Map();
  const tensors: TensorEntry[] = [];
  scanner.object((name) => {
    if (name === '__metadata__') metadata = parseMetadata(scanner);
    else tensors.push(parseEntry(scanner, name, path));
  });
  scanner.end();
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkCoverage(tensors, dataBytes, path);
  return { metadata, tensors };
}

function decodeUtf8(header: Uint8Array, path: string): string {
  // The first byte is fixed, so that no other format's magic number can sit in front of a valid header.
  if (header[0] !== 0x7b) throw bad(path, 'its header does not begin with "{"; this is not a safetensors file');
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header);
  } catch (cause) {
    throw bad(path, 'its header is not valid UTF-8', cause);
  }
}

function parseMetadata(scanner: JsonScanner): Map<string, string> {
  const metadata = new Map<string, string>();
  scanner.object((key) => metadata.set(key, scanner.string()));
  return metadata;
}

function parseEntry(scanner: JsonScanner, name: string, path: string): TensorEntry {
  let dtype: FileDType | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  scanner.object((key) => {
    if (key === 'dtype') dtype = parseDType(scanner, name);
    else if (key === 'shape') shape = parseSizes(scanner, `an extent of tensor ${quote(name)}`);
    else if (key === 'data_offsets') offsets = parseSizes(scanner, `a data offset of tensor ${quote(name)}`);
    // Skipping a key we do not know (say, strides) could mean reading the tensor wrongly.
    else throw scanner.error(`tensor ${quote(name)} has a key ${quote(key)}, which the format does not define`);
  });
  if (dtype === undefined || shape === undefined || offsets === undefined) {
    throw bad(path, `tensor ${quote(name)} lacks one of dtype, shape and data_offsets`);
  }
  const [begin, end] = offsets;
  if (begin === undefined || end === undefined || offsets.length !== 2) {
    throw bad(path, `tensor ${quote(name)} has ${offsets.length} data offsets, but needs two`);
  }
  const bytes = tensorBytes(dtype, shape);
  if (bytes !== end - begin) {
    const size = bytes === undefined ? 'more than 2^53' : bytes;
    const wanted = `${dtype}[${shape}] needs ${size} bytes, but its offsets ${begin} to ${end} hold ${end - begin}`;
    throw bad(path, `tensor ${quote(name)}: ${wanted}`);
  }
  return { name, dtype, shape, begin, end };
}

function parseDType(scanner: JsonScanner, name: string): FileDType {
  const dtype = scanner.string();
  if (isFileDType(dtype)) return dtype;
  throw scanner.error(
    `tensor ${quote(name)} has the element type ${quote(dtype)}; those known are ${FILE_DTYPES.join(' ')}`,
  );
}

function parseSizes(scanner: JsonScanner, what: string): number[] {
  const sizes: number[] = [];
  scanner.array(() => sizes.push(scanner.size(what)));
  return sizes;
}

function checkCoverage(tensors: readonly TensorEntry[], dataBytes: number, path: string): void {
  let reached = 0;
  let before = 'the start of the data section';
  for (const { name, begin, end } of tensors) {
    if (begin !== reached) {
      const fault = begin < reached ? 'overlaps' : 'leaves a hole after';
      throw bad(path, `tensor ${quote(name)} begins at byte ${begin} and ${fault} ${before}, which ends at ${reached}`);
    }
    reached = end;
    before = `tensor ${quote(name)}`;
  }
  if (reached !== dataBytes) {
    const what = reached > dataBytes ? 'the file is cut short' : 'bytes follow that belong to no tensor';
    throw bad(path, `its tensors end at byte ${reached} of a data section of ${dataBytes} bytes: ${what}`);
  }
}

/** A name from the file, short enough and escaped for a terminal. */
function quote(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}…` : name);
}

function bad(path: string, problem: string, cause?: unknown): TrainMoeError {
  return new TrainMoeError('bad-data', `${path}: ${problem}.`, cause === undefined ? undefined : { cause });
}

/**
 * The bytes before the data section: the length, the JSON with keys in file order, and spaces up to a multiple of 8.
 * The same specs and metadata always give the same bytes.
 */
export function encodeHeader(tensors: readonly TensorEntry[], metadata: ReadonlyMap<string, string>): Uint8Array {
  const fields: string[] = [];
  if (metadata.size > 0) {
    const pairs = [...metadata].sort(([a], [b]) => (a < b ? -1 : 1));
    fields.push(`"__metadata__":{${pairs.map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`).join(',')}}`);
  }
  for (const { name, dtype, shape, begin, end } of tensors) {
    fields.push(`${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${begin},${end}]}`);
  }
  const json = Buffer.from(`{${fields.join(',')}}`);
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = Buffer.alloc(8 + length, ' ');
  bytes.writeBigUInt64LE(BigInt(length));
  json.copy(bytes, 8);
  return bytes;
}
