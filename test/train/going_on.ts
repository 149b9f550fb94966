import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { RunConfig } from '../../src/config/index.js';
import type { RunEnd } from '../../src/train/events.js';
import { pretrain } from '../../src/train/pretrain.js';

/** What a run that goes on must have as one that was not stopped. */
const STATE = ['model.safetensors', join('trainer', 'state.safetensors')];

/** Trains in a folder, and in another with a stop behind the third step, or another: the last checkpoints have the same bits. */
export async function expectToGoOn(
  config: (out: string) => RunConfig,
  folder: string,
  stopAfter = 3,
): Promise<{ readonly whole: RunEnd; readonly goneOn: RunEnd }> {
  const whole = await pretrain(config(join(folder, 'whole')));
  let steps = 0;
  const stopped = config(join(folder, 'stopped'));
  const first = await pretrain(stopped, { shouldStop: () => ++steps === stopAfter });
  expect(first).toMatchObject({ step: stopAfter, stopped: true });
  const goneOn = await pretrain(stopped);
  for (const file of STATE)
    expect(readFileSync(join(goneOn.checkpoint!, file)).equals(readFileSync(join(whole.checkpoint!, file))), file).toBe(
      true,
    );
  return { whole, goneOn };
}
