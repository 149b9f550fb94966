import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { TrainMoeError } from '../errors.js';
import { type BlockShape, WEIGHT_BLOCK } from './blocks.js';
import { type FolderSink, writeText } from './byte_sink.js';
import { type ByteSource, openFile } from './byte_source.js';
import { type Config, formatConfig, readConfig } from './config_json.js';
import type { TensorSpec } from './dtype.js';
import { ioError } from './io_error.js';
import { openSafetensors, type TensorBytes } from './safetensors.js';
import { INDEX_NAME, openSharded, type ShardOptions, type ShardSet, SINGLE_NAME, writeSharded } from './shards.js';
import { type TensorSource, tensorSource } from './tensor_source.js';

const CONFIG_NAME = 'config.json';
const GENERATION_NAME = 'generation_config.json';

/** A model as Hugging Face's libraries store it. */
export interface ModelFolder {
  readonly path: string;
  /** Absent for a lone weight file. */
  readonly config?: Config;
  readonly generationConfig?: Config;
  readonly tensors: TensorSource;
  close(): void;
}

/**
 * Opens a model folder, or a single `.safetensors` file or index with the settings beside it. Weights are not read
 * until asked for.
 *
 * Throws `not-found` when there is nothing to open (and says so when a folder has only pickled weights), `bad-data`
 * when a header, an index or a settings file is damaged.
 */
export function openModelFolder(path: string, open: (path: string) => ByteSource = openFile): ModelFolder {
  const isFolder = statusOf(path).isDirectory();
  const folder = isFolder ? path : dirname(path);
  const config = readIfPresent(join(folder, CONFIG_NAME));
  const generationConfig = readIfPresent(join(folder, GENERATION_NAME));
  const set = openWeights(isFolder ? weightsOf(folder) : path, open);
  return {
    path,
    ...(config && { config }),
    ...(generationConfig && { generationConfig }),
    tensors: tensorSource(path, set.tensors, blockOf(config, folder), () => set.close()),
    close: () => set.close(),
  };
}

function statusOf(path: string) {
  try {
    return statSync(path);
  } catch (cause) {
    throw ioError('open', path, cause);
  }
}

function readIfPresent(path: string): Config | undefined {
  return existsSync(path) ? readConfig(path) : undefined;
}

/** A single file wins over an index, as in transformers. */
function weightsOf(folder: string): string {
  const name = [SINGLE_NAME, INDEX_NAME].find((candidate) => existsSync(join(folder, candidate)));
  if (name !== undefined) return join(folder, name);
  const pickled = readdirSync(folder).find((file) => /\.(bin|pt|pth|ckpt)$/.test(file));
  const hint = pickled === undefined ? '' : ` It has ${pickled}, a pickle that can run code: convert it first.`;
  throw new TrainMoeError(
    'not-found',
    `${folder} has neither ${SINGLE_NAME} nor ${INDEX_NAME}; give the folder of a model, such as a run's checkpoints/latest.${hint}`,
  );
}

function openWeights(path: string, open: (path: string) => ByteSource): ShardSet {
  return basename(path) === INDEX_NAME ? openSharded(dirname(path), open) : openSafetensors(path, open);
}

/** `quantization_config.weight_block_size`, or DeepSeek-V3's 128 x 128. */
function blockOf(config: Config | undefined, folder: string): BlockShape {
  const quantisation = config?.values.quantization_config as { weight_block_size?: unknown } | null | undefined;
  const size = quantisation?.weight_block_size ?? [WEIGHT_BLOCK.rows, WEIGHT_BLOCK.cols];
  const valid = Array.isArray(size) && size.length === 2 && size.every((n) => Number.isSafeInteger(n) && n > 0);
  if (valid) return { rows: size[0] as number, cols: size[1] as number };
  const found = `${join(folder, CONFIG_NAME)}: quantization_config.weight_block_size is ${JSON.stringify(size)}`;
  throw new TrainMoeError('bad-data', `${found}, but must be two positive integers.`);
}

/** What a model folder is written from; `data` supplies one tensor at a time. */
export interface ModelContent extends ShardOptions {
  readonly config: Config;
  readonly generationConfig?: Config;
  readonly tensors: readonly TensorSpec[];
  readonly data: TensorBytes;
}

/** Writes `config.json`, `generation_config.json` when there is one, and the weights, sharded where they are large. */
export function writeModelFolder(folder: FolderSink, content: ModelContent): void {
  writeText(folder, CONFIG_NAME, formatConfig(content.config));
  if (content.generationConfig) writeText(folder, GENERATION_NAME, formatConfig(content.generationConfig));
  writeSharded(folder, content.tensors, content.data, content);
}
