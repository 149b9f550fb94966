import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Batch } from '../../src/data/index.js';
import { folderSink } from '../../src/hub/byte_sink.js';
import { openSafetensors } from '../../src/hub/safetensors.js';
import { createModel, parametersOf } from '../../src/models/codec.js';
import type { Model } from '../../src/models/family.js';
import { forward } from '../../src/models/forward.js';
import { gpt2 } from '../../src/models/gpt2.js';
import { mergeAdapter, writeAdapter } from '../../src/models/peft.js';
import { addLora, type Lora, type LoraConfig, mergedValues } from '../../src/nn/lora.js';
import { device, differentiate, gradientOfParameter, noGrad, type Tensor } from '../../src/tensor/index.js';
import { languageModelLoss } from '../../src/train/loss.js';
import { tinyModel } from '../rl/tiny.js';

const cpu = device('cpu');
const folder = mkdtempSync(join(tmpdir(), 'train-moe-lora-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Kind = 'dense' | 'experts' | 'gpt2';

/** A model as tinyModel() makes it, but without gradients. */
function frozen(kind: Kind): Model {
  if (kind === 'gpt2') {
    const sizes = { vocabulary: 24, hidden: 16, layers: 2, heads: 2, inner: 32, context: 128, deviation: 0.08 };
    const config = { ...gpt2.presets['gpt2-nano']!, ...sizes };
    return createModel(gpt2, config, { device: cpu, dtype: 'f32', seed: 1, train: false }) as unknown as Model;
  }
  const { family, config, ...model } = tinyModel(kind);
  for (const { tensor } of parametersOf({ family, config, ...model })) tensor.dispose();
  return createModel(family, config, { device: cpu, dtype: 'f32', seed: 1, train: false });
}

const settings: LoraConfig = { rank: 3, alpha: 6, dropout: 0, targets: 'all' };
const ids = Int32Array.from({ length: 12 }, (_, i) => (5 * i + 3) % 24);
const batch: Batch = {
  rows: 1,
  length: 12,
  ids,
  targets: ids.map((_, i) => ids[(i + 1) % 12]!),
  documentStart: new Int32Array(12),
  trainedTokens: 12,
  bytes: 0,
};
const logitsOf = (model: Model) => forward(model, { shape: [1, 12], inputIds: ids }, cpu, false).logits;
const lossOf = (model: Model, recompute = false) =>
  languageModelLoss(model, batch, { device: cpu, trainedTokens: 12, recompute });

/** Adapters whose B is no longer 0. */
function adapted(model: Model, config = settings): Lora {
  const lora = addLora(parametersOf(model), config, { device: cpu, dtype: 'f32', seed: 7 });
  for (const { adapter } of lora.entries) adapter.b.write(adapter.b.read().map((_, i) => 0.05 * Math.sin(3 * i + 1)));
  return lora;
}

function dispose(model: Model, lora: Lora): void {
  lora.dispose();
  for (const { tensor } of parametersOf(model)) tensor.dispose();
}

const largest = (a: Float32Array, b: Float32Array) => a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);

describe.each<Kind>(['dense', 'experts', 'gpt2'])('adapters on a model (%s)', (kind) => {
  it('start from the model as it is, and leave it so', () => {
    const model = frozen(kind);
    const plain = logitsOf(model);
    const lora = addLora(parametersOf(model), settings, { device: cpu, dtype: 'f32', seed: 7 });
    expect(logitsOf(model)).toEqual(plain);
    lora.dispose();
    const again = adapted(model);
    expect(largest(logitsOf(model), plain)).toBeGreaterThan(1e-3);
    again.dispose();
    expect(logitsOf(model)).toEqual(plain);
    for (const { tensor } of parametersOf(model)) tensor.dispose();
  });

  it('have gradients equal to finite differences, with recomputation and without, and the weights have none', () => {
    const model = frozen(kind);
    const lora = adapted(model);
    const before = parametersOf(model).map(({ tensor }) => tensor.readBytes());
    const gradients = (recompute: boolean) => {
      for (const { adapter } of lora.entries) for (const t of [adapter.a, adapter.b]) t.gradient?.reset();
      differentiate(() => ({ losses: [lossOf(model, recompute).main] }));
      return lora.entries.flatMap(({ path, adapter }) =>
        (['a', 'b'] as const).map((side) => ({
          name: `${path}.${side}`,
          tensor: adapter[side],
          gradient: gradientOfParameter(adapter[side])!.read(),
        })),
      );
    };
    const found = gradients(false);
    const step = 1e-2;
    const value = () => noGrad(() => lossOf(model).main.item());
    const moved = (t: Tensor, direction: Float32Array, by: number) => {
      const kept = t.read();
      t.write(kept.map((x, i) => x + by * direction[i]!));
      const loss = value();
      t.write(kept);
      return loss;
    };
    for (const { name, tensor, gradient } of found) {
      const norm = Math.sqrt(gradient.reduce((sum, g) => sum + g * g, 0));
      expect(norm, name).toBeGreaterThan(0);
      const direction = gradient.map((g) => g / norm);
      const measured = (moved(tensor, direction, step) - moved(tensor, direction, -step)) / (2 * step);
      expect(Math.abs(measured - norm), name).toBeLessThan(0.02 * norm + 2e-4);
    }
    const recomputed = gradients(true);
    for (const [i, { gradient, name }] of found.entries())
      expect(largest(recomputed[i]!.gradient, gradient), name).toBeLessThan(1e-6);
    expect(parametersOf(model).every(({ tensor }) => tensor.gradient === undefined)).toBe(true);
    expect(parametersOf(model).map(({ tensor }) => tensor.readBytes())).toEqual(before);
    dispose(model, lora);
  });

  it('give the logits of the merged model, merged here or from the folder of PEFT', () => {
    const model = frozen(kind);
    const lora = adapted(model);
    const expected = logitsOf(model);
    const path = join(folder, kind);
    writeAdapter(folderSink(path), model, lora, { base: 'base', valuesOf: (t) => t.read() });
    const file = openSafetensors(join(path, 'adapter_model.safetensors'));
    const attention = {
      dense: 'model.layers.1.self_attn.k_proj',
      experts: 'model.layers.1.self_attn.o_proj',
      gpt2: 'transformer.h.1.attn.c_attn',
    }[kind];
    expect(file.tensors.get(`base_model.model.${attention}.lora_A.weight`)!.shape).toEqual([3, 16]);
    const { fan_in_fan_out } = JSON.parse(readFileSync(join(path, 'adapter_config.json'), 'utf8'));
    expect(fan_in_fan_out).toBe(kind === 'gpt2');
    if (kind === 'experts')
      expect(file.tensors.get('base_model.model.model.layers.1.mlp.experts.3.up_proj.lora_B.weight')!.shape).toEqual([
        8, 3,
      ]);
    file.close();
    const kept = parametersOf(model).map(({ tensor }) => tensor.read());
    for (const { weight, adapter } of lora.entries) {
      const [a, b] = [adapter.a.read(), adapter.b.read()];
      weight.write(mergedValues(weight.read(), weight.shape, { a, b, scale: adapter.scale }, cpu));
    }
    lora.dispose();
    expect(largest(logitsOf(model), expected)).toBeLessThan(1e-5);
    parametersOf(model).forEach(({ tensor }, i) => {
      tensor.write(kept[i]!);
    });
    mergeAdapter(model, path, cpu);
    expect(largest(logitsOf(model), expected)).toBeLessThan(1e-5);
    for (const { tensor } of parametersOf(model)) tensor.dispose();
  });
});

describe('adapters', () => {
  it('drop inputs in training steps only, the same ones for the same step', () => {
    const model = frozen('dense');
    const lora = adapted(model, { ...settings, dropout: 0.5 });
    const value = () => noGrad(() => lossOf(model).main.item());
    const plain = value();
    lora.seed(1);
    const first = value();
    expect(first).not.toBe(plain);
    expect(value()).toBe(first);
    lora.seed(2);
    expect(value()).not.toBe(first);
    lora.seed(undefined);
    expect(value()).toBe(plain);
    dispose(model, lora);
  });

  it('can be on attention or feed-forward layers only', () => {
    const model = frozen('experts');
    const paths = (targets: LoraConfig['targets']) => {
      const lora = addLora(parametersOf(model), { ...settings, targets }, { device: cpu, dtype: 'f32', seed: 1 });
      const found = new Set(lora.entries.map(({ path }) => path.split('.').at(-1)));
      lora.dispose();
      return [...found].toSorted();
    };
    expect(paths('attention')).toEqual(['kvDown', 'out', 'query']);
    expect(paths('feed')).toEqual(['down', 'gateUp']);
    for (const { tensor } of parametersOf(model)) tensor.dispose();
  });

  it('are refused where they do not belong', () => {
    const [dense, experts] = [frozen('dense'), frozen('experts')];
    expect(() => mergeAdapter(dense, folder, cpu)).toThrow(/has no adapter_config\.json/);
    expect(() => mergeAdapter(dense, join(folder, 'experts'), cpu)).toThrow(/is \[|has no place for/);
    for (const model of [dense, experts]) for (const { tensor } of parametersOf(model)) tensor.dispose();
  });
});
