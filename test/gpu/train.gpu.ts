import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { pretrain } from '../../src/train/pretrain.js';
import { tinyRun } from '../train/tiny.js';
import { on, rehearsal } from './device.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-gpu-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => {
  delete process.env.TRAIN_MOE_GRAPHS;
});

const steps = rehearsal ? 6 : 40;
const size = rehearsal ? { rows: 2, length: 12 } : { rows: 8, length: 64 };

/** Trains in a folder of that name, on the device under test unless told otherwise. */
function train(name: string, { device = on.kind as string, dtype = 'f32', stopAt = 0, save = 1000 } = {}) {
  let step = 0;
  const config = tinyRun(join(folder, name), {
    device,
    train: { ...tinyRun('unused').train, ...size, steps, dtype, accumulate: 2 },
    save: { every: save, keep: 2 },
  });
  return pretrain(config, { shouldStop: () => ++step === stopAt });
}

const stateOf = (checkpoint: string | undefined) => ({
  weights: readFileSync(join(checkpoint!, 'model.safetensors')),
  trainer: readFileSync(join(checkpoint!, 'trainer', 'state.safetensors')),
});

describe('pre-training', () => {
  it('has the losses of the CPU', async () => {
    const cpu = (await train('cpu', { device: 'cpu' })).losses;
    const mine = (await train('f32')).losses;
    mine.forEach(([step, loss], i) => {
      expect(Math.abs(loss - cpu[i]![1]) / cpu[i]![1], `step ${step}`).toBeLessThan(2e-3);
    });
    const narrow = (await train('bf16', { dtype: 'bf16' })).losses;
    narrow.forEach(([step, loss], i) => {
      expect(Math.abs(loss - cpu[i]![1]) / cpu[i]![1], `step ${step} in bf16`).toBeLessThan(5e-2);
    });
  });

  it('is the same, to the bit, with and without recorded steps', async () => {
    process.env.TRAIN_MOE_GRAPHS = '1';
    const recorded = await train('recorded', { dtype: 'bf16' });
    process.env.TRAIN_MOE_GRAPHS = '0';
    const plain = await train('plain', { dtype: 'bf16' });
    expect(recorded.losses).toEqual(plain.losses);
    expect(stateOf(recorded.checkpoint)).toEqual(stateOf(plain.checkpoint));
  });

  it('goes on after a stop with the bits of a run that was not stopped', async () => {
    const whole = await train('whole', { dtype: 'bf16' });
    const first = await train('resumed', { dtype: 'bf16', stopAt: steps / 2 });
    expect(first.step).toBe(steps / 2);
    const second = await train('resumed', { dtype: 'bf16' });
    expect(second.step).toBe(steps);
    expect(stateOf(second.checkpoint)).toEqual(stateOf(whole.checkpoint));
  });
});
