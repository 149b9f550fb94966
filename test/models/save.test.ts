import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  device,
  disposeModel,
  forward,
  type LoadedModel,
  loadModel,
  loadTokenizer,
  saveModel,
} from '../../src/index.js';
import { tinyModel, writeTinyModel } from '../rl/tiny.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-save-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const cpu = device('cpu');
const inputs = { shape: [2, 5] as const, inputIds: Int32Array.from({ length: 10 }, (_, i) => 2 + i) };
const configOf = (path: string) => JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'));

/** The logits of a model that is loaded for this. */
function logitsOf(path: string): Float32Array {
  const model = loadModel(path, { device: cpu });
  const { logits } = forward(model, inputs, cpu);
  disposeModel(model);
  return logits;
}

describe('saveModel', () => {
  it('writes what loadModel() reads back, to the bit', () => {
    const model = tinyModel('experts');
    const { logits } = forward(model, inputs, cpu);
    saveModel(join(folder, 'plain'), model);
    disposeModel(model);
    expect(logitsOf(join(folder, 'plain'))).toEqual(logits);
    expect(configOf(join(folder, 'plain')).torch_dtype).toBe('float32');
  });

  it('keeps what it does not know of a config.json, and rounds to bf16 when asked', async () => {
    const source = join(folder, 'source');
    await writeTinyModel(source);
    writeFileSync(join(source, 'config.json'), JSON.stringify({ ...configOf(source), somebody: { elses: [1] } }));
    const model: LoadedModel = loadModel(source, { device: cpu });
    const [f32, bf16] = [join(folder, 'f32'), join(folder, 'bf16')];
    saveModel(f32, model);
    saveModel(bf16, model, { dtype: 'bf16' });
    loadTokenizer(source).save(f32);
    disposeModel(model);
    expect(configOf(f32)).toMatchObject({ somebody: { elses: [1] }, torch_dtype: 'float32' });
    expect(configOf(bf16)).toMatchObject({ somebody: { elses: [1] }, torch_dtype: 'bfloat16' });
    const exact = logitsOf(source);
    expect(logitsOf(f32)).toEqual(exact);
    const rounded = logitsOf(bf16);
    expect(rounded).not.toEqual(exact);
    for (const [i, value] of rounded.entries()) expect(Math.abs(value - exact[i]!)).toBeLessThan(0.05);
    expect(loadTokenizer(f32).encode('one')).toEqual(loadTokenizer(source).encode('one'));
  });

  it('says the type under the key that its config.json has', async () => {
    const source = join(folder, 'newer');
    await writeTinyModel(source);
    const { torch_dtype: _, ...config } = configOf(source);
    writeFileSync(join(source, 'config.json'), JSON.stringify({ ...config, dtype: 'float32' }));
    const model = loadModel(source, { device: cpu });
    saveModel(join(folder, 'newer-bf16'), model, { dtype: 'bf16' });
    disposeModel(model);
    expect(configOf(join(folder, 'newer-bf16'))).toMatchObject({ dtype: 'bfloat16' });
    expect(configOf(join(folder, 'newer-bf16'))).not.toHaveProperty('torch_dtype');
  });

  it('writes over no other model', () => {
    const model = tinyModel('dense');
    expect(() => saveModel(join(folder, 'plain'), model)).toThrow(/plain holds a model already; name a folder/);
    disposeModel(model);
  });
});
