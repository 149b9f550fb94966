import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSafetensors } from '../../src/hub/safetensors.js';
import { parametersOf } from '../../src/models/codec.js';
import { loadModel } from '../../src/models/folder.js';
import { type ForwardResult, forward } from '../../src/models/forward.js';
import type { Model } from '../../src/models/index.js';
import { type Device, device } from '../../src/tensor/index.js';

/** The tensors of a golden file, as numbers with their shapes. */
export interface Golden {
  has(name: string): boolean;
  names(): string[];
  floats(name: string): Float64Array;
  ints(name: string): Int32Array;
  shape(name: string): readonly number[];
}

export function openGolden(folder: string): Golden {
  const file = openSafetensors(join(folder, 'golden.safetensors'));
  const at = (name: string) => {
    const tensor = file.tensors.get(name);
    if (!tensor) throw new Error(`the golden has no ${name}`);
    return tensor;
  };
  const aligned = (name: string) => at(name).read().slice().buffer;
  return {
    has: (name) => file.tensors.has(name),
    names: () => [...file.tensors.keys()],
    floats: (name) =>
      at(name).dtype === 'F64' ? new Float64Array(aligned(name)) : Float64Array.from(new Float32Array(aligned(name))),
    ints: (name) => new Int32Array(aligned(name)),
    shape: (name) => at(name).shape,
  };
}

/** The names of the golden cases that the manifest lists for these prefixes. */
export function goldenCases(root: string, prefixes: readonly string[]): string[] {
  const manifest = JSON.parse(readFileSync(join(root, 'manifest.json'), 'utf8')) as { cases: Record<string, unknown> };
  return Object.keys(manifest.cases).filter((name) => prefixes.some((p) => name.startsWith(p)));
}

/** How names of cases begin whose families are here. */
export const FAMILIES = [
  'llama',
  'deepseek',
  'gpt2',
  'ctrl',
  'bert',
  'roberta',
  'distilbert',
  'albert',
  'megatron-bert',
  'xlnet',
] as const;

/** The largest entry of all gradients: some are zero in exact arithmetic, and noise beside it. */
export const largestGradient = (golden: Golden): number =>
  Math.max(
    ...golden
      .names()
      .filter((name) => name.startsWith('grad.'))
      .map((name) => golden.floats(name).reduce((m, v) => Math.max(m, Math.abs(v)), 0)),
  );

/** max|a - b| / max|b|, or over `atLeast` when b is smaller. */
export function maxError(actual: ArrayLike<number>, expected: ArrayLike<number>, atLeast = 0): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let largest = atLeast;
  for (let i = 0; i < expected.length; i++) {
    const d = Math.abs(actual[i]! - expected[i]!);
    if (!(d <= difference)) difference = d; // also when d is NaN
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return difference / (largest || 1);
}

export const dispose = (model: Model) => {
  for (const { tensor } of parametersOf(model)) tensor.dispose();
};

/** The model of a case with the answers it gives to the golden's inputs, gradients included. */
export function runGolden(
  folder: string,
  golden: Golden,
  { dtype = 'f32', on = device('cpu') }: { readonly dtype?: 'f32' | 'bf16'; readonly on?: Device } = {},
): { model: Model; result: ForwardResult } {
  const model = loadModel(folder, { device: on, dtype, train: true });
  const optional = (name: string) => (golden.has(name) ? golden.ints(name) : undefined);
  const floats = (name: string) => (golden.has(name) ? golden.floats(name) : undefined);
  const mems = golden.names().filter((name) => name.startsWith('mems.'));
  const [rows, length] = golden.shape('input_ids') as [number, number];
  const result = forward(
    model,
    {
      shape: [rows, length],
      inputIds: golden.ints('input_ids'),
      attentionMask: optional('attention_mask'),
      positionIds: optional('position_ids'),
      tokenTypeIds: optional('token_type_ids'),
      labels: optional('labels'),
      relationLabels: optional('next_sentence_label') ?? optional('sentence_order_label'),
      permMask: floats('perm_mask'),
      targetMapping: floats('target_mapping'),
      mems: mems.length > 0 ? mems.map((_, i) => golden.floats(`mems.${i}`)) : undefined,
      mtpWeight: golden.has('mtp_weight') ? golden.floats('mtp_weight')[0] : undefined,
    },
    on,
    true,
  );
  return { model, result };
}

/** Root mean square of a - b over that of b, or over `atLeast` when b is smaller. */
export function rmsError(actual: ArrayLike<number>, expected: ArrayLike<number>, atLeast = 0): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let size = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2;
    size += expected[i]! ** 2;
  }
  return Math.sqrt(difference / Math.max(size, atLeast ** 2 * expected.length));
}
