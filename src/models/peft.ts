import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TrainMoeError } from '../errors.js';
import { type FolderSink, writeText } from '../hub/byte_sink.js';
import { openSafetensors, writeSafetensors } from '../hub/safetensors.js';
import { type Lora, mergedValues } from '../nn/lora.js';
import type { Device, Tensor } from '../tensor/index.js';
import { parametersOf } from './codec.js';
import type { HubPiece, Model } from './family.js';

/** Adapters as the library PEFT stores them: two matrices per projection, under the names of the model on disk. */

const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';

/** "model.layers.0.self_attn.q_proj.weight" -> "base_model.model.model.layers.0.self_attn.q_proj" */
const stemOf = ({ name }: HubPiece): string => `base_model.model.${name.replace(/\.weight$/, '')}`;

/** A piece as we hold it: [out, in]. PEFT's matrices are the same, however the weight lies on disk. */
const matrixOf = ({ shape, transposed }: HubPiece) =>
  (transposed ? shape.toReversed() : shape) as readonly [number, number];

/**
 * Writes adapters as a PEFT folder. Projections that we hold as one matrix (q, k, v) share their A and have their rows of B.
 * `valuesOf` says which values: masters, where the compute type is not f32.
 */
export function writeAdapter(
  folder: FolderSink,
  model: Model,
  lora: Lora,
  { base, valuesOf }: { readonly base: string; readonly valuesOf: (tensor: Tensor) => Float32Array },
): void {
  const tensors = new Map<string, { readonly shape: readonly number[]; readonly values: Float32Array }>();
  const params = new Map(parametersOf(model).map(({ path, param }) => [path, param]));
  const modules = new Set<string>();
  const { rank, alpha, dropout } = lora.config;
  let transposed = false;
  for (const { path, adapter } of lora.entries) {
    const param = params.get(path)!;
    const [inner, outer] = param.shape.toReversed() as [number, number];
    const [a, b] = [valuesOf(adapter.a), valuesOf(adapter.b)];
    for (const piece of model.family.hubPieces(model.config, path, param)) {
      const stem = stemOf(piece);
      const [rows] = matrixOf(piece);
      transposed ||= piece.transposed === true;
      const first = piece.offset / inner; // row in the whole stack
      const expert = Math.floor(first / outer);
      modules.add(stem.split('.').at(-1)!);
      tensors.set(`${stem}.lora_A.weight`, {
        shape: [rank, inner],
        values: a.slice(expert * rank * inner, (expert + 1) * rank * inner),
      });
      tensors.set(`${stem}.lora_B.weight`, {
        shape: [rows, rank],
        values: b.slice(first * rank, (first + rows) * rank),
      });
    }
  }
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: base,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: dropout,
    target_modules: [...modules].toSorted(),
    bias: 'none',
    fan_in_fan_out: transposed,
    use_rslora: false,
    inference_mode: true,
  };
  writeText(folder, CONFIG, `${JSON.stringify(config, null, 2)}\n`);
  const specs = [...tensors].map(([name, { shape }]) => ({ name, shape, dtype: 'F32' as const }));
  folder.file(WEIGHTS, (sink) =>
    writeSafetensors(sink, specs, ({ name }) => {
      const { values } = tensors.get(name)!;
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    }),
  );
}

/**
 * Adds a PEFT adapter to the weights of a model for good: W += alpha / r * B A for each projection it names.
 * @throws TrainMoeError `not-found` when the folder holds no adapter, `bad-data` when it belongs to another model or is of a
 *   kind that is more than two matrices per projection
 */
export function mergeAdapter(model: Model, folder: string, device: Device): void {
  const { r, alpha } = readConfig(folder);
  const file = openSafetensors(join(folder, WEIGHTS));
  try {
    const left = new Set(file.tensors.keys());
    const take = (name: string): { readonly values: Float32Array; readonly shape: readonly number[] } | undefined => {
      const stored = file.tensors.get(name);
      if (!stored) return undefined;
      if (stored.dtype !== 'F32')
        throw new TrainMoeError('bad-data', `${name} in ${file.path} is ${stored.dtype}; adapters are read in F32.`);
      left.delete(name);
      return { values: new Float32Array(stored.read().slice().buffer), shape: stored.shape };
    };
    for (const { path, param, tensor } of parametersOf(model)) {
      let values: Float32Array | undefined;
      for (const piece of model.family.hubPieces(model.config, path, param)) {
        const [a, b] = ['A', 'B'].map((side) => take(`${stemOf(piece)}.lora_${side}.weight`));
        if (!a || !b) continue;
        const [outer, inner] = matrixOf(piece);
        if (a.shape[1] !== inner || b.shape[0] !== outer || a.shape[0] !== b.shape[1])
          throw new TrainMoeError(
            'bad-data',
            `The adapter of ${piece.name} is [${b.shape}] times [${a.shape}], but the weight is [${outer},${inner}].`,
          );
        values ??= tensor.read();
        const part = values.subarray(piece.offset, piece.offset + outer * inner);
        part.set(mergedValues(part, [outer, inner], { a: a.values, b: b.values, scale: alpha / r }, device));
      }
      if (values) tensor.write(values);
    }
    const [unknown] = left;
    if (unknown !== undefined)
      throw new TrainMoeError('bad-data', `The model has no place for ${unknown} of the adapter ${folder}.`);
  } finally {
    file.close();
  }
}

function readConfig(folder: string): { readonly r: number; readonly alpha: number } {
  const path = join(folder, CONFIG);
  if (!existsSync(path))
    throw new TrainMoeError('not-found', `${folder} has no ${CONFIG}; give the folder of a PEFT adapter.`);
  let config: Record<string, unknown>;
  try {
    config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  } catch (cause) {
    throw new TrainMoeError('bad-data', `${path} is no JSON: ${(cause as Error).message}.`, { cause });
  }
  const { peft_type, r, lora_alpha, use_dora, use_rslora } = config;
  if (peft_type !== 'LORA' || typeof r !== 'number' || typeof lora_alpha !== 'number' || use_dora)
    throw new TrainMoeError('bad-data', `${path} is no plain LoRA adapter with r and lora_alpha.`);
  return { r: use_rslora ? Math.sqrt(r) : r, alpha: lora_alpha };
}
