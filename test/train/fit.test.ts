import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { TrainMoeError } from '../../src/errors.js';
import { createModel } from '../../src/models/codec.js';
import { deepseekV3, deepseekV3Presets } from '../../src/models/deepseek_v3.js';
import { addon } from '../../src/native.js';
import { device, memoryOf } from '../../src/tensor/index.js';
import { leastMemory } from '../../src/train/estimate.js';
import { PRETRAIN_FLAGS, SFT_FLAGS, settingsThatFit, stepChoices } from '../../src/train/fit.js';
import { modelConfigFor } from '../../src/train/model_config.js';
import { pretrain } from '../../src/train/pretrain.js';
import { tinyLatent } from '../tiny_models.js';
import { tinyRun } from './tiny.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-fit-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('settings that fit', () => {
  const model = { family: deepseekV3, config: deepseekV3Presets.nano, dtype: 'bf16' } as never;
  const now = { rows: 64, length: 2048, accumulate: 1, recompute: false, moments: 'f32' as const };

  it('are three of different kinds, those that change no result first', () => {
    const fitting = settingsThatFit(stepChoices(model, now, PRETRAIN_FLAGS), 3e9);
    expect(fitting.map((f) => f.flags.replace(/\d+/g, 'N'))).toEqual([
      '--train.accumulate N',
      '--train.recompute --train.accumulate N',
      '--train.optimizer.moments bfN --train.recompute --train.accumulate N',
    ]);
    for (const { bytes } of fitting) expect(bytes).toBeLessThan(3e9);
  });

  it('cut a batch into parts of one size, whatever its rows', () => {
    for (const rows of [7, 12, 30, 1_000_003]) {
      const { candidates } = stepChoices(model, { ...now, rows, accumulate: rows === 12 ? 4 : 1 }, PRETRAIN_FLAGS);
      const cut = candidates.map((c) => (c.rows ?? rows) / (c.accumulate ?? 1));
      expect(cut.filter((size) => !Number.isInteger(size))).toEqual([]);
      expect(candidates.some((c) => c.accumulate === rows)).toBe(true);
    }
  });

  it('leave rows for each of several ranks, and are those of the memory of one', () => {
    const one = stepChoices(model, now, PRETRAIN_FLAGS);
    const several = stepChoices(model, now, PRETRAIN_FLAGS, { ranks: 8 });
    const uneven = ({ rows = now.rows, accumulate = 1 }) => rows % 8 !== 0 || accumulate > rows / 8;
    expect(one.candidates.some(uneven)).toBe(true);
    expect(several.candidates.filter(uneven)).toEqual([]);
    expect(several.candidates.length).toBeGreaterThan(5);
    expect(several.bytes(now)).toBeLessThan(one.bytes(now) / 2);
    expect(several.least(now)).toBeLessThan(one.least(now));
  });

  it("are a command's own flags and types, and count what is trained", () => {
    const choices = (trained: number) => stepChoices(model, now, SFT_FLAGS, { trained, narrowest: 'bf16' });
    const flags = settingsThatFit(choices(1), 3e9).map((f) => f.flags);
    expect(flags[0]).toMatch(/^--accumulate \d+$/);
    expect(
      stepChoices(model, { ...now, moments: 'bf16' }, SFT_FLAGS, { narrowest: 'bf16' }).candidates,
    ).not.toContainEqual({ moments: 'u8' });
    expect(choices(0.01).bytes(now)).toBeLessThan(choices(1).bytes(now));
  });

  it('do not exist where the weights alone are too large', () => {
    expect(settingsThatFit(stepChoices(model, now, PRETRAIN_FLAGS), 1e6)).toEqual([]);
  });
});

describe('a run that does not fit', () => {
  it('names the tensor, who holds what, and settings; the first of them trains', async () => {
    const cpu = device('cpu');
    const step = (train: object, name: string) =>
      pretrain(tinyRun(join(folder, name), { train: { steps: 1, rows: 64, length: 256, ...train } }));
    addon.trimMemory(cpu.index);
    const start = memoryOf(cpu, true).live;
    await step({}, 'all');
    const whole = memoryOf(cpu).peak - start;
    addon.trimMemory(cpu.index);
    addon.limitMemory(cpu.index, start + Math.round(0.5 * whole));
    try {
      const error = await step({}, 'short').then(
        () => undefined,
        (e: TrainMoeError) => e,
      );
      expect(error).toBeInstanceOf(TrainMoeError);
      expect(error!.code).toBe('out-of-memory');
      expect(error!.message).toMatch(
        /^(layer \d|embed|head|norm|next token)[^:]*: cpu-\w+ has no room for an? (f32|bf16|i32|f64) tensor \[\d+(,\d+)*\] \([\d.]+ MB\) of activations; held now: .*activations .*\. Of .*, these would fit: --train/,
      );
      expect(error!.message.match(/\(about /g)).toHaveLength(3);
      const accumulate = Number(/--train\.accumulate (\d+)/.exec(error!.message)![1]);
      addon.trimMemory(cpu.index);
      await step({ accumulate }, 'fits');
    } finally {
      addon.limitMemory(cpu.index, 0);
    }
  });

  it.each([
    ['f32 with all moments', { dtype: 'f32' }],
    ['bf16 with masters, recomputed', { dtype: 'bf16', recompute: true, accumulate: 2 }],
    ['8-bit moments, no masters', { dtype: 'bf16', optimizer: { moments: 'u8', master: false } }],
  ])('is not begun where it cannot fit, and takes no less than that bound: %s', async (name, more) => {
    const cpu = device('cpu');
    const model = { hidden: 128, layers: 4, heads: 2, ...tinyLatent, inner: 512, expertInner: 128, mtpLayers: 1 };
    const train = { steps: 1, rows: 8, length: 128, ...more };
    const run = tinyRun(join(folder, name), { train, model });
    const { accumulate, recompute, optimizer } = run.train;
    const least = leastMemory(modelConfigFor(run, 300), {
      dtype: run.train.dtype as 'f32',
      tokens: (8 * 128) / accumulate,
      recompute,
      ...optimizer,
    });
    addon.trimMemory(cpu.index);
    const start = memoryOf(cpu, true).live;
    await pretrain(run);
    const peak = memoryOf(cpu).peak - start;
    expect(least).toBeLessThanOrEqual(peak);
    expect(least).toBeGreaterThan(0.2 * peak);
    addon.trimMemory(cpu.index);
    addon.limitMemory(cpu.index, Math.floor(0.95 * least));
    try {
      const refused = pretrain({ ...run, out: join(folder, `${name} again`) });
      await expect(refused).rejects.toThrow(
        /^These settings take at least [\d.]+ MiB\. (No batch fits|Of .* would fit)/,
      );
      expect(memoryOf(cpu, true).live).toBe(start);
    } finally {
      addon.limitMemory(cpu.index, 0);
    }
  });

  it('is not begun where its weights alone cannot fit, nor is anything else with them', () => {
    const cpu = device('cpu');
    addon.limitMemory(cpu.index, 2 ** 20);
    try {
      expect(() => createModel(deepseekV3, deepseekV3Presets.nano, { device: cpu, dtype: 'f32' })).toThrow(
        /^The weights take [\d.]+ MiB in f32, but cpu.* has 1\.00 MiB; take a smaller model, the type bf16 or/,
      );
    } finally {
      addon.limitMemory(cpu.index, 0);
    }
  });

  it('is not begun where its settings are out of all proportion', async () => {
    const train = { steps: 1, rows: 1_000_000_000, length: 256 };
    await expect(pretrain(tinyRun(join(folder, 'huge'), { train }))).rejects.toThrow(
      /These settings take at least [\d.]+ [TP]iB\. Of .*, these would fit: --train/,
    );
  });
});
