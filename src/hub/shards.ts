import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TrainMoeError } from '../errors.js';
import { type FolderSink, writeText } from './byte_sink.js';
import { type ByteSource, openFile } from './byte_source.js';
import type { TensorSpec } from './dtype.js';
import { ioError } from './io_error.js';
import { JsonScanner } from './json_scanner.js';
import {
  checkedBytes,
  openSafetensors,
  type SafetensorsFile,
  type StoredTensor,
  type TensorBytes,
  writeSafetensors,
} from './safetensors.js';

export const INDEX_NAME = 'model.safetensors.index.json';
export const SINGLE_NAME = 'model.safetensors';

/** Hugging Face's own default is 50 GB; 5 GB loads in steps that fit small machines and still makes few files. */
export const DEFAULT_SHARD_BYTES = 5_000_000_000;

/** The tensors of several files under one roof. */
export interface ShardSet {
  /** The file or index that was opened. */
  readonly path: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  close(): void;
}

/**
 * Opens the shards that an index names and checks that they hold exactly what it says: throws `bad-data` that lists
 * tensors missing from their shard and tensors no one mentioned, and `not-found` for a shard that is not there.
 */
export function openSharded(folder: string, open: (path: string) => ByteSource = openFile): ShardSet {
  const path = join(folder, INDEX_NAME);
  const weightMap = readIndex(path);
  const files: SafetensorsFile[] = [];
  const close = () => {
    for (const file of files) file.close();
  };
  try {
    const tensors = new Map<string, StoredTensor>();
    const extra: string[] = [];
    for (const shard of [...new Set(weightMap.values())].sort()) {
      const file = openSafetensors(join(folder, shard), open);
      files.push(file);
      for (const [name, tensor] of file.tensors) {
        if (weightMap.get(name) === shard) tensors.set(name, tensor);
        else extra.push(`${name} (in ${shard})`);
      }
    }
    const missing = [...weightMap].filter(([name]) => !tensors.has(name)).map(([name, shard]) => `${name} (${shard})`);
    if (missing.length + extra.length > 0) throw mismatch(path, missing, extra);
    return { path, tensors, close };
  } catch (error) {
    close();
    throw error;
  }
}

function mismatch(path: string, missing: readonly string[], extra: readonly string[]): TrainMoeError {
  const clause = (names: readonly string[], what: string) =>
    names.length === 0 ? [] : [`${names.length} ${what}: ${listed(names)}`];
  const clauses = [
    ...clause(missing, 'tensors of the index are not in their shard'),
    ...clause(extra, 'tensors are in a shard that the index does not give for them'),
  ];
  return new TrainMoeError('bad-data', `${path}: ${clauses.join('; ')}. The shards are not of one model.`);
}

/** The first names of a list, with the number of the others. */
export function listed(names: readonly string[], limit = 5): string {
  const shown = names.slice(0, limit).join(', ');
  return names.length > limit ? `${shown} and ${names.length - limit} more` : shown;
}

/** Reads `weight_map`, tensor name to shard name; a shard must lie in the index's own folder. */
export function readIndex(path: string): ReadonlyMap<string, string> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw ioError('read', path, cause);
  }
  const scanner = new JsonScanner(text, path);
  let weightMap: Map<string, string> | undefined;
  scanner.object((key) => {
    if (key === 'weight_map') weightMap = readWeightMap(scanner);
    else scanner.skip();
  });
  scanner.end();
  if (weightMap === undefined) throw scanner.error('there is no weight_map');
  return weightMap;
}

function readWeightMap(scanner: JsonScanner): Map<string, string> {
  const map = new Map<string, string>();
  scanner.object((name) => {
    const shard = scanner.string();
    if (!/^[^/\\\0]+\.safetensors$/.test(shard) || shard.startsWith('.')) {
      throw scanner.error(`the shard of ${name} is ${JSON.stringify(shard)}, but must be a plain *.safetensors name`);
    }
    map.set(name, shard);
  });
  return map;
}

export interface ShardOptions {
  /** Tensor bytes after which a new file is begun. A single tensor above it gets a file of its own. */
  readonly maxShardBytes?: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Writes tensors as `model.safetensors`, or as numbered shards with an index when they pass `maxShardBytes`. Tensors
 * fill the shards in the order of `specs` (so a layer stays together) and within a shard lie as in every safetensors
 * file. Throws what `writeSafetensors` throws, before the first file is made where that is possible.
 */
export function writeSharded(
  folder: FolderSink,
  specs: readonly TensorSpec[],
  data: TensorBytes,
  { maxShardBytes = DEFAULT_SHARD_BYTES, metadata = { format: 'pt' } }: ShardOptions = {},
): void {
  const shards = planShards(specs, maxShardBytes);
  if (shards.length <= 1) {
    folder.file(SINGLE_NAME, (sink) => writeSafetensors(sink, specs, data, metadata));
    return;
  }
  const weightMap: [string, string][] = [];
  for (const [index, members] of shards.entries()) {
    const file = `model-${counted(index + 1)}-of-${counted(shards.length)}.safetensors`;
    folder.file(file, (sink) => writeSafetensors(sink, members, data, metadata));
    for (const { name } of members) weightMap.push([name, file]);
  }
  writeText(folder, INDEX_NAME, formatIndex(specs, weightMap));
}

function planShards(specs: readonly TensorSpec[], maxShardBytes: number): TensorSpec[][] {
  if (!(maxShardBytes > 0)) {
    throw new TrainMoeError('bad-argument', `The shard size is ${maxShardBytes} bytes, but must be positive.`);
  }
  if (new Set(specs.map((spec) => spec.name)).size < specs.length) {
    throw new TrainMoeError('bad-argument', 'Two tensors of the model have the same name.');
  }
  const shards: TensorSpec[][] = [];
  let room = 0;
  for (const spec of specs) {
    const bytes = checkedBytes(spec);
    if (shards.length === 0 || bytes > room) {
      shards.push([]);
      room = maxShardBytes;
    }
    shards[shards.length - 1]!.push(spec);
    room -= bytes;
  }
  return shards;
}

const counted = (n: number) => String(n).padStart(5, '0');

/** Keys sorted, two spaces, a newline at the end: the form Hugging Face's libraries give this file. */
function formatIndex(specs: readonly TensorSpec[], weightMap: readonly (readonly [string, string])[]): string {
  const elements = (spec: TensorSpec) => spec.shape.reduce((product, extent) => product * extent, 1);
  const sum = (of: (spec: TensorSpec) => number) => specs.reduce((total, spec) => total + of(spec), 0);
  const sorted = [...weightMap].sort(([a], [b]) => (a < b ? -1 : 1));
  const lines = sorted.map(([name, file]) => `    ${JSON.stringify(name)}: ${JSON.stringify(file)}`);
  const metadata = `    "total_parameters": ${sum(elements)},\n    "total_size": ${sum(checkedBytes)}`;
  return `{\n  "metadata": {\n${metadata}\n  },\n  "weight_map": {\n${lines.join(',\n')}\n  }\n}\n`;
}
