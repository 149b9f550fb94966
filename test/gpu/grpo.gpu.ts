import { describe, expect, it } from 'vitest';
import { parametersOf } from '../../src/models/codec.js';
import { grpoStep } from '../../src/rl/grpo.js';
import { type Device, device } from '../../src/tensor/index.js';
import { relativeError } from '../ops/harness.js';
import { tinyParts } from '../rl/tiny.js';
import { on } from './device.js';

/* One step of GRPO: the completions that the CPU samples, and the weights that it comes to. */

async function step(kind: 'dense' | 'experts', at: Device) {
  const parts = tinyParts({ prompts: 2, group: 4, maxTokens: 5, updates: 2, kl: 1e-3 }, { kind, on: at });
  try {
    const outcome = await grpoStep(parts, 0, 0);
    const ids = outcome.groups.flatMap(({ samples }) => samples.map((s) => s.ids));
    return { ids, weights: parametersOf(parts.model).map(({ tensor }) => tensor.read()) };
  } finally {
    parts.dispose();
  }
}

describe('a GRPO step', () => {
  it.each(['dense', 'experts'] as const)('samples and learns as on the CPU (%s)', async (kind) => {
    const cpu = await step(kind, device('cpu'));
    const mine = await step(kind, on);
    expect(mine.ids).toEqual(cpu.ids);
    mine.weights.forEach((w, i) => {
      expect(relativeError(w, cpu.weights[i]!), `parameter ${i}`).toBeLessThan(5e-3);
    });
  });
});
