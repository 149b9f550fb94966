import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { defineConfig } from '../../src/config/index.js';
import { openModelFolder } from '../../src/hub/folder.js';
import { disposeModel, parametersOf, trainedParameters } from '../../src/models/codec.js';
import { loadModel } from '../../src/models/folder.js';
import { AdamW } from '../../src/optim/adamw.js';
import { device } from '../../src/tensor/index.js';
import { exactMasters } from '../../src/train/exact.js';
import { pretrain } from '../../src/train/pretrain.js';
import { tinyRun } from './tiny.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-exact-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const cpu = device('cpu');

const valuesOf = (path: string) => {
  const opened = openModelFolder(path);
  const values = new Map(opened.tensors.names().map((name) => [name, opened.tensors.read(name).slice()]));
  opened.close();
  return values;
};

describe('a bf16 model of an f32 folder', async () => {
  const base = (await pretrain(tinyRun(join(folder, 'base')))).checkpoint!;

  it('has masters with the values of the folder, and weights that are those rounded', () => {
    const model = loadModel(base, { device: cpu, dtype: 'bf16', train: true });
    const exact = loadModel(base, { device: cpu, dtype: 'f32' });
    const optimizer = new AdamW(trainedParameters(model), {}, cpu);
    const values = new Map(parametersOf(exact).map(({ path, tensor }) => [path, tensor.read()]));
    const masters = () => parametersOf(model).map(({ path, tensor }) => [path, optimizer.masterOf(tensor).read()]);
    expect(new Map(masters() as [string, Float32Array][])).not.toEqual(values);
    const weights = parametersOf(model).map(({ tensor }) => tensor.readBytes());
    exactMasters(model, optimizer);
    expect(new Map(masters() as [string, Float32Array][])).toEqual(values);
    expect(parametersOf(model).map(({ tensor }) => tensor.readBytes())).toEqual(weights);
    optimizer.dispose();
    for (const loaded of [model, exact]) disposeModel(loaded);
  });

  it('is trained on from them', async () => {
    const { data, evaluate, save, log } = tinyRun('x');
    const out = join(folder, 'further');
    const still = { lr: 1e-30, decay: 0 };
    const train = { steps: 1, rows: 2, length: 16, dtype: 'bf16', optimizer: still, schedule: { warmup: 0 } } as const;
    const run = defineConfig({ model: base, device: 'cpu', data, evaluate, save, log, train, out });
    const { checkpoint } = await pretrain(run);
    const [before, after] = [valuesOf(base), valuesOf(checkpoint!)];
    // Biases of routers follow a rule of their own.
    for (const [name, values] of before)
      if (!/correction_bias/.test(name)) expect(after.get(name), name).toEqual(values);
  });
});
