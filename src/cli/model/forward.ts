import { basename, dirname } from 'node:path';
import { TrainMoeError } from '../../errors.js';
import { folderSink } from '../../hub/byte_sink.js';
import type { TensorSpec } from '../../hub/dtype.js';
import { openSafetensors, type SafetensorsFile, writeSafetensors } from '../../hub/safetensors.js';
import type { Model } from '../../models/family.js';
import { type ForwardInputs, type ForwardResult, forward } from '../../models/forward.js';
import { advising } from '../../train/fit.js';
import { forwardChoices } from './fit.js';
import { type ModelOptions, openModel } from './open.js';

/**
 * Reads the arguments of a forward pass, runs it, and writes its results under the names of the goldens.
 * @throws TrainMoeError `out-of-memory` with settings that would fit
 */
export function runForward(
  options: Omit<ModelOptions, 'tokenizer'> & { readonly inputs: string; readonly out: string; readonly grads: boolean },
): void {
  const file = openSafetensors(options.inputs);
  let inputs: ForwardInputs;
  try {
    inputs = readInputs(file);
  } finally {
    file.close();
  }
  const { model, device } = openModel(options, options.grads);
  const result = advising(
    device,
    () => forwardChoices(model, inputs.shape, options.grads),
    () => forward(model, inputs, device, options.grads),
  );
  writeResult(options.out, result, inputs.shape, model);
}

/** What transformers calls the integers that may come with input_ids. The label of a pair is BERT's or ALBERT's. */
const OPTIONAL = {
  attention_mask: 'attentionMask',
  position_ids: 'positionIds',
  token_type_ids: 'tokenTypeIds',
  labels: 'labels',
  next_sentence_label: 'relationLabels',
  sentence_order_label: 'relationLabels',
} as const satisfies Readonly<Record<string, keyof ForwardInputs>>;
/** The same of XLNet's numbers, of any type; `mems.i` are its memory, a layer each. */
const RECURRENT = { perm_mask: 'permMask', target_mapping: 'targetMapping' } as const satisfies Readonly<
  Record<string, keyof ForwardInputs>
>;
const KNOWN = ['input_ids', ...Object.keys(OPTIONAL), ...Object.keys(RECURRENT), 'mems.0', 'mtp_weight'];

function readInputs(file: SafetensorsFile): ForwardInputs {
  const shape = file.tensors.get('input_ids')?.shape;
  if (shape?.length !== 2)
    throw new TrainMoeError(
      'bad-data',
      `${file.path} has no input_ids of shape [batch, length]; it holds ${[...file.tensors.keys()].slice(0, 5).join(', ') || 'nothing'}.`,
    );
  const weight = file.tensors.has('mtp_weight') ? numbers(file, 'mtp_weight')[0] : undefined;
  const given = Object.entries(OPTIONAL).filter(([name]) => file.tensors.has(name));
  const recurrent = Object.entries(RECURRENT).filter(([name]) => file.tensors.has(name));
  const mems = [...file.tensors.keys()].filter((name) => name.startsWith('mems.'));
  return {
    shape: shape as [number, number],
    inputIds: integers(file, 'input_ids'),
    ...Object.fromEntries(given.map(([name, key]) => [key, integers(file, name)])),
    ...Object.fromEntries(recurrent.map(([name, key]) => [key, numbers(file, name)])),
    ...(mems.length > 0 && { mems: mems.map((_, i) => numbers(file, `mems.${i}`)) }),
    ...(weight !== undefined && { mtpWeight: weight }),
  };
}

/** Integers of any width as 32-bit ones. */
function integers(file: SafetensorsFile, name: string): Int32Array {
  const values = valuesOf(file, name);
  return values instanceof Int32Array ? values : refuse(file, name, 'I32 or I64');
}

function numbers(file: SafetensorsFile, name: string): ArrayLike<number> {
  return valuesOf(file, name) ?? refuse(file, name, 'F32, F64, I32 or I64');
}

/** Undefined of a type that arguments do not have. */
function valuesOf(file: SafetensorsFile, name: string): Int32Array | Float32Array | Float64Array | undefined {
  const tensor = file.tensors.get(name);
  if (!tensor) throw new TrainMoeError('bad-data', `${file.path} has no ${name}, but others of its kind.`);
  const bytes = tensor.read().slice().buffer;
  if (tensor.dtype === 'I32') return new Int32Array(bytes);
  if (tensor.dtype === 'I64') return Int32Array.from(new BigInt64Array(bytes), Number);
  if (tensor.dtype === 'F32') return new Float32Array(bytes);
  return tensor.dtype === 'F64' ? new Float64Array(bytes) : undefined;
}

function refuse(file: SafetensorsFile, name: string, expected: string): never {
  const { dtype } = file.tensors.get(name)!;
  throw new TrainMoeError(
    'bad-data',
    `${name} in ${file.path} is ${dtype}; ${expected} is expected (known inputs: ${KNOWN.join(', ')}).`,
  );
}

function writeResult(
  out: string,
  r: ForwardResult,
  [rows, length]: readonly [number, number],
  { family, config }: Model,
): void {
  const values = new Map<string, { readonly shape: readonly number[]; readonly data: Float32Array }>();
  const vocabulary = family.vocabulary(config);
  values.set('logits', { shape: [rows, r.logits.length / rows / vocabulary, vocabulary], data: r.logits });
  const relation = family.encoder?.relationNames;
  if (relation && r.relationLogits) values.set(relation.logits, { shape: [rows, 2], data: r.relationLogits });
  for (const [i, h] of r.hidden.entries())
    values.set(`hidden.${i}`, { shape: [rows, length, h.length / rows / length], data: h });
  const { hidden: width } = config as { readonly hidden: number };
  for (const [i, m] of r.newMems?.entries() ?? [])
    values.set(`new_mems.${i}`, { shape: [m.length / rows / width, rows, width], data: m });
  for (const [name, value] of [
    ['loss', r.loss],
    ['main_loss', r.mtpLoss === undefined ? undefined : r.mainLoss],
    ['mtp_loss', r.mtpLoss],
  ] as const)
    if (value !== undefined) values.set(name, { shape: [], data: Float32Array.of(value) });
  for (const [name, { shape, values: data }] of r.gradients ?? []) values.set(`grad.${name}`, { shape, data });
  const specs = [...values].map(([name, { shape }]): TensorSpec => ({ name, shape, dtype: 'F32' }));
  folderSink(dirname(out)).file(basename(out), (sink) =>
    writeSafetensors(sink, specs, ({ name }) => {
      const { data } = values.get(name)!;
      return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    }),
  );
}
