import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { modelFolder } from '../../../src/train/run/model_folder.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-model-folder-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('is a folder with a config.json, the newest checkpoint of a run, or a file; else it says what is missing', () => {
  const [run, weights] = [join(folder, 'run'), join(folder, 'x.safetensors')];
  const checkpoint = join(run, 'checkpoints', 'step-3');
  expect(() => modelFolder(run)).toThrow(`${run} does not exist; give a model folder or a run folder.`);
  mkdirSync(join(run, 'checkpoints'), { recursive: true });
  expect(() => modelFolder(folder)).toThrow(`${folder} holds no model: config.json is not in it`);
  expect(() => modelFolder(run)).toThrow(`${run} holds no model: the run in it has no checkpoint yet`);
  mkdirSync(checkpoint);
  writeFileSync(join(checkpoint, 'config.json'), '{}');
  symlinkSync('step-3', join(run, 'checkpoints', 'latest'));
  writeFileSync(weights, '');
  expect(modelFolder(run)).toBe(join(run, 'checkpoints', 'latest'));
  expect([checkpoint, weights].map(modelFolder)).toEqual([checkpoint, weights]);
});
