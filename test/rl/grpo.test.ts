import { describe, expect, it } from 'vitest';
import { parametersOf } from '../../src/models/codec.js';
import type { GrpoInput } from '../../src/rl/config.js';
import { type GrpoParts, grpoStep, type StepOutcome } from '../../src/rl/grpo.js';
import type { Grader } from '../../src/rl/sample.js';
import { update } from '../../src/rl/update.js';
import { device, memoryOf } from '../../src/tensor/index.js';
import { tinyParts, WANTED } from './tiny.js';
import { notingReads } from './waits.js';

async function steps(parts: GrpoParts, count: number): Promise<StepOutcome[]> {
  const outcomes: StepOutcome[] = [];
  let next = 0;
  for (let step = 0; step < count; step++) {
    const outcome = await grpoStep(parts, step, next);
    next = outcome.nextQuestion;
    outcomes.push(outcome);
  }
  return outcomes;
}

const meanReward = ({ groups }: StepOutcome): number => {
  const rewards = groups.flatMap(({ samples }) => samples.map(({ reward }) => reward ?? 0));
  return rewards.reduce((a, b) => a + b, 0) / rewards.length;
};

const weightsOf = ({ model }: GrpoParts) => parametersOf(model).map(({ tensor }) => tensor.read());

/** Runs `body` with the parts and releases them. */
async function withParts<T>(
  settings: Partial<GrpoInput>,
  extra: Parameters<typeof tinyParts>[1],
  body: (parts: GrpoParts) => Promise<T>,
): Promise<T> {
  const parts = tinyParts(settings, extra);
  try {
    return await body(parts);
  } finally {
    parts.dispose();
  }
}

describe('GRPO', () => {
  const variants: [string, Partial<GrpoInput>, 'dense' | 'experts'][] = [
    ['one update of a rollout', {}, 'dense'],
    [
      'KL to a reference, two epochs of two mini-batches, dual clip',
      { kl: 1e-3, updates: 2, epochs: 2, dualClip: 3 },
      'dense',
    ],
    ['mixture of experts with routing replay', { updates: 2, replayRouting: true }, 'experts'],
    [
      'DAPO',
      { aggregation: 'token', clipHigh: 0.28, dynamicSampling: 1, overlong: 'punish', overlongBuffer: 2 },
      'dense',
    ],
    ['Dr. GRPO', { advantage: 'mean', aggregation: 'constant', updates: 2 }, 'dense'],
    ['GSPO with importance weights', { ratio: 'sequence', updates: 2, rolloutCap: 2 }, 'dense'],
  ];

  it.each(variants)('raises the reward: %s', async (_, settings, kind) => {
    await withParts(settings, { kind }, async (parts) => {
      const rewards = (await steps(parts, 20)).map(meanReward);
      const early = (rewards[0]! + rewards[1]!) / 2;
      const late = (rewards.at(-1)! + rewards.at(-2)!) / 2;
      expect(early).toBeLessThan(0.15); // one token of 24 by chance
      expect(late, rewards.map((r) => r.toFixed(2)).join(' ')).toBeGreaterThan(early + 0.3);
    });
  });

  it('finds in training what it sampled with: the same log-probabilities', async () => {
    for (const kind of ['dense', 'experts'] as const)
      await withParts({}, { kind }, async (parts) => {
        const [{ mismatch, updates, groups }] = (await steps(parts, 1)) as [StepOutcome];
        const telling = groups.flatMap((g) => g.samples).filter(({ advantage }) => advantage !== 0);
        expect(mismatch.tokens).toBe(telling.reduce((n, s) => n + s.ids.length, 0));
        expect(mismatch.max, kind).toBe(0);
        expect(mismatch.max).toBeGreaterThanOrEqual(mismatch.mean);
        expect(Math.abs(updates[0]!.loss)).toBeLessThan(1e-6); // advantages of a group sum to 0
        expect(updates[0]!.entropy).toBeGreaterThan(2.5); // ln 24 = 3.18
        expect(updates[0]!.stats.clippedLow + updates[0]!.stats.clippedHigh).toBe(0);
      });
  });

  it('nearly, from latents', async () => {
    await withParts({ exactRollouts: false }, { kind: 'experts' }, async (parts) => {
      const { max } = (await grpoStep(parts, 0, 0)).mismatch;
      expect(max).toBeGreaterThan(0);
      expect(max).toBeLessThan(1e-5);
    });
  });

  it('also with several updates, experts replayed', async () => {
    await withParts({ updates: 2, replayRouting: true }, { kind: 'experts' }, async (parts) => {
      expect((await grpoStep(parts, 0, 0)).mismatch.max).toBe(0);
    });
  });

  it('also at another temperature', async () => {
    await withParts({ temperature: 0.5 }, {}, async (parts) => {
      expect((await grpoStep(parts, 0, 0)).mismatch.max).toBe(0);
    });
  });

  it('waits for the device only when all of an update, or of a scoring, is on its way', async () => {
    const settings = { rowsAtOnce: 20, kl: 0.01, updates: 2, replayRouting: true };
    await withParts(settings, { kind: 'experts' }, async (parts) => {
      const events: string[] = [];
      await notingReads(events, () => grpoStep(parts, 0, 0, (phase) => events.push(`|${phase}`)));
      const [, scoring, ...updates] = events.join(' ').slice(events.join(' ').indexOf('|score')).split('|');
      expect(scoring).toMatch(/^score (beginRead )+(endRead )+(beginRead )+(endRead )+$/); // the policy, then the reference
      expect(updates).toHaveLength(2);
      for (const train of updates) expect(`${train.trim()} `).toMatch(/^train (beginRead ){9,}(endRead )+$/);
    });
  });

  it('refuses an update whose loss is not a number, and changes nothing', async () => {
    await withParts({}, {}, async (parts) => {
      const [{ groups }] = (await steps(parts, 1)) as [StepOutcome];
      const before = weightsOf(parts);
      const spoiled = groups.flatMap(({ samples }) => samples).map((s) => ({ ...s, advantage: Number.NaN }));
      await expect(update(parts, spoiled)).rejects.toThrow(/The policy loss is NaN .* nothing was updated/);
      expect(weightsOf(parts)).toEqual(before);
      expect(parts.optimizer.steps).toBe(1);
    });
  });

  it('is the same bits for the same seed, and other ones for another', async () => {
    const run = (seed: number) =>
      withParts({ seed, updates: 2 }, {}, async (parts) => {
        await steps(parts, 3);
        return weightsOf(parts);
      });
    const [a, b, c] = [await run(1), await run(1), await run(2)];
    expect(b).toEqual(a);
    expect(c).not.toEqual(a);
  });

  it('does not depend on how many rows are computed at once', async () => {
    const run = (rowsAtOnce: number) =>
      withParts({ rowsAtOnce, kl: 0.01, updates: 2 }, {}, async (parts) => {
        const [outcome] = await steps(parts, 1);
        return outcome!.updates.map(({ loss, gradNorm }) => [loss, gradNorm]);
      });
    const [whole, parts] = [await run(100_000), await run(20)];
    whole.forEach(([loss, norm], i) => {
      expect(parts[i]![0]).toBeCloseTo(loss!, 6);
      expect(parts[i]![1]! / norm!).toBeCloseTo(1, 4);
    });
  });

  it('does not compute samples of advantage 0, and divides by all of them all the same', async () => {
    // Half of the questions tell their completions apart. A penalty too small to matter computes all.
    const half: Grader = {
      rewards: [{ name: 'half', weight: 1 }],
      grade: async (samples) => samples.map(({ question }, i) => [{ value: question.index % 2 ? i % 2 : 1 }]),
    };
    const run = (kl: number) =>
      withParts({ kl }, { grader: half }, async (parts) => (await grpoStep(parts, 0, 0)).updates[0]!);
    const [some, all] = [await run(0), await run(1e-30)];
    expect(some.stats.tokens).toBeLessThan(all.stats.tokens * 0.7);
    expect(some.gradNorm / all.gradNorm).toBeCloseTo(1, 5);
    expect(some.loss).toBeCloseTo(all.loss, 7);
  });

  it('learns nothing from equal rewards, and replaces such groups where asked', async () => {
    const equal: Grader = {
      rewards: [{ name: 'one', weight: 1 }],
      grade: async (samples) => samples.map(() => [{ value: 1 }]),
    };
    await withParts({}, { grader: equal }, async (parts) => {
      const before = weightsOf(parts);
      const outcome = await grpoStep(parts, 0, 0);
      expect(outcome.groups.every(({ flat }) => flat)).toBe(true);
      expect(weightsOf(parts)).toEqual(before);
      // One sample is computed all the same, so that the log has its figures.
      expect(outcome.updates[0]!.stats.tokens).toBe(outcome.groups[0]!.samples[0]!.ids.length);
      expect(outcome.mismatch.max).toBe(0);
    });
    // Only every third question tells its completions apart.
    const someFlat: Grader = {
      rewards: [{ name: 'some', weight: 1 }],
      grade: async (samples) => samples.map((s, i) => [{ value: s.question.index % 3 === 0 ? i % 2 : 0 }]),
    };
    await withParts({ dynamicSampling: 5, prompts: 3 }, { grader: someFlat }, async (parts) => {
      const outcome = await grpoStep(parts, 0, 0);
      expect(outcome.groups.map(({ question }) => question.index)).toEqual([0, 3, 6]);
      expect(outcome.groups.some(({ flat }) => flat)).toBe(false);
      expect(outcome.replaced).toBeGreaterThanOrEqual(4);
    });
    await withParts({ dynamicSampling: 1, prompts: 3 }, { grader: equal }, async (parts) => {
      const outcome = await grpoStep(parts, 0, 0);
      expect(outcome.groups).toHaveLength(3); // flat ones fill up when tries are over
      expect(outcome.nextQuestion).toBe(6);
    });
  });

  it('leaves completions out whose grader failed', async () => {
    const failing: Grader = {
      rewards: [{ name: 'half', weight: 1 }],
      grade: async (samples) =>
        samples.map(({ ids }, i) => [
          i % 2 ? { skip: true, reason: 'hung' } : { value: ids.filter((id) => id === WANTED).length },
        ]),
    };
    await withParts({}, { grader: failing }, async (parts) => {
      const { updates, groups } = await grpoStep(parts, 0, 0);
      const counted = groups.flatMap(({ samples }) => samples.filter(({ advantage }) => advantage !== 0));
      expect(counted.every(({ reward }) => reward !== undefined)).toBe(true);
      expect(updates[0]!.stats.tokens).toBe(counted.reduce((n, s) => n + s.ids.length, 0));
    });
  });

  it('makes no update when nothing may be trained on, and drops cut completions where asked', async () => {
    await withParts({ overlong: 'drop', maxTokens: 1 }, {}, async (parts) => {
      const { updates, groups } = await grpoStep(parts, 0, 0);
      const ended = groups.flatMap(({ samples }) => samples).filter(({ finish }) => finish === 'stop').length;
      expect(updates.reduce((n, u) => n + u.stats.tokens, 0)).toBe(ended);
    });
  });

  it('lets the reference go along when it is reset', async () => {
    await withParts({ kl: 0.1, updates: 2 }, {}, async (parts) => {
      await steps(parts, 3);
      const apart = await grpoStep(parts, 3, 50);
      expect(apart.updates[0]!.stats.kl).toBeGreaterThan(1e-4);
      parts.reference!.reset();
      const together = await grpoStep(parts, 4, 60);
      expect(together.updates[0]!.stats.kl).toBeLessThan(1e-9);
    });
  });

  it('passes over prompts that are too long', async () => {
    await withParts({ maxPrompt: 3, prompts: 2 }, {}, async (parts) => {
      const long = {
        ...parts.source,
        train: (i: number) => ({ ...parts.source.train(i), ids: i % 2 ? [3, 4] : [3, 4, 5, 6] }),
      };
      const { groups } = await grpoStep({ ...parts, source: long }, 0, 0);
      expect(groups.map(({ question }) => question.index)).toEqual([1, 3]);
    });
    await withParts({ maxPrompt: 512, prompts: 2 }, {}, async (parts) => {
      const ids = (i: number) => new Array<number>(i % 2 ? 120 : 128).fill(3); // the model reads 128
      const long = { ...parts.source, train: (i: number) => ({ ...parts.source.train(i), ids: ids(i) }) };
      const { groups } = await grpoStep({ ...parts, source: long }, 0, 0);
      expect(groups.map(({ question }) => question.index)).toEqual([1, 3]);
      for (const { samples } of groups) for (const { ids } of samples) expect(ids.length).toBeLessThanOrEqual(8);
    });
    await withParts({ maxPrompt: 1, prompts: 2 }, {}, async (parts) => {
      await expect(grpoStep(parts, 0, 0)).rejects.toThrow(/more than 1 tokens; raise maxPrompt/);
    });
  });

  it('releases all memory', async () => {
    const before = memoryOf(device('cpu')).tensors;
    await withParts({ kl: 0.1, updates: 2, replayRouting: true }, { kind: 'experts' }, (parts) => steps(parts, 2));
    expect(memoryOf(device('cpu')).tensors - before).toBeLessThanOrEqual(1); // a table of rotary positions
  });
});
