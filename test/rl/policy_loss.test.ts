import { describe, expect, it } from 'vitest';
import { openSafetensors } from '../../src/hub/safetensors.js';
import { crossEntropy } from '../../src/ops/cross_entropy.js';
import { type PolicyBatch, type PolicyObjective, policyLoss, policyStats } from '../../src/ops/policy_loss.js';
import { differentiate, from, gradientOfParameter, parameter, scope } from '../../src/tensor/index.js';
import { maxError } from '../models/golden.js';
import { PPO, policyGradient, type ReferenceBatch } from '../ops/policy_reference.js';
import { sharedPath } from '../shared.js';

const floatsOf = (x: ArrayLike<number> | undefined) => x && Float32Array.from(x);
const inFloats = ({ old, reference, rollout, ...batch }: ReferenceBatch): PolicyBatch => ({
  ...batch,
  old: floatsOf(old),
  reference: floatsOf(reference),
  rollout: floatsOf(rollout),
});

/** The op on one row per token, with d loss / d log pi. */
function computed(logProbs: ArrayLike<number>, batch: ReferenceBatch, o: PolicyObjective) {
  return scope(() => {
    const nll = parameter(from(Float32Array.from(logProbs, (v) => -v)));
    const { loss, stats } = differentiate(() => {
      const value = policyLoss(
        nll,
        Int32Array.from(logProbs, (_, t) => t),
        inFloats(batch),
        o,
      );
      return { ...value, losses: [value.loss] };
    });
    const gradient = Array.from(gradientOfParameter(nll)!.read(), (g) => -g);
    nll.dispose();
    return { loss: loss.item(), gradient, stats: policyStats(stats.readDoubles()) };
  });
}

const path = sharedPath('golden/grpo.safetensors');

describe.skipIf(!path)('policy loss against the golden file (needs ../shared/golden/grpo.safetensors)', () => {
  const file = path ? openSafetensors(path) : undefined;
  const bytes = (name: string) => file!.tensors.get(name)!.read().slice().buffer;
  const doubles = (name: string) => new Float64Array(bytes(name));
  const floats = (name: string) => new Float32Array(bytes(name));
  const ints = (name: string) => new Int32Array(bytes(name));
  const variants: [string, string, PolicyObjective][] = [
    ['grpo', 'advantages', { ...PPO, kl: 0.001 }],
    ['dapo', 'advantages', { ...PPO, clipHigh: 0.28, aggregation: 'token' }],
    ['dr_grpo', 'advantages_dr_grpo', { ...PPO, aggregation: 'constant' }],
  ];
  const [samples, length, vocabulary] = [8, 24, 50];

  /** The golden's padded rows without their padding. */
  function packed(advantages: string): { batch: ReferenceBatch; rows: Int32Array; logProbs: Float64Array } {
    const rows = Int32Array.from([...ints('mask').keys()].filter((i) => ints('mask')[i]));
    const starts = new Int32Array(samples + 1);
    for (const row of rows) starts[Math.floor(row / length) + 1]!++;
    for (let i = 0; i < samples; i++) starts[i + 1]! += starts[i]!;
    const pick = (name: string) => {
      const values = doubles(name);
      return Float64Array.from(rows, (r) => values[r]!);
    };
    const total = { samples, tokens: rows.length, maxTokens: length };
    const batch = {
      starts,
      advantages: doubles(advantages),
      old: pick('old_log_probs'),
      reference: pick('ref_log_probs'),
    };
    return { batch: { ...batch, total }, rows, logProbs: pick('log_probs') };
  }

  it.each(variants)('%s: loss, tokens and clipping in float64', (name, advantages, objective) => {
    const { batch, rows, logProbs } = packed(advantages);
    const value = policyGradient(logProbs, batch, objective);
    expect(Math.abs(value.loss - doubles(`${name}.loss`)[0]!)).toBeLessThan(1e-12);
    const expected = doubles(`${name}.token_loss`);
    expect(
      maxError(
        value.tokenLoss,
        Float64Array.from(rows, (r) => expected[r]!),
      ),
    ).toBeLessThan(1e-12);
    const { clippedLow, clippedHigh, tokens } = value.stats;
    expect((clippedLow + clippedHigh) / tokens).toBeCloseTo(doubles(`${name}.clip_fraction`)[0]!, 12);
    expect(value.stats.kl).toBeCloseTo(
      doubles('k3').reduce((a, b) => a + b, 0),
      10,
    );
  });

  it.each(variants)('%s: gradient through log-softmax to the logits', (name, advantages, objective) => {
    const { batch, rows } = packed(advantages);
    const error = scope(() => {
      const logits = parameter(from(floats('logits'), [samples * length, vocabulary]));
      const targets = from(ints('tokens'), [samples * length]);
      const { loss } = differentiate(() => {
        const { loss } = policyLoss(crossEntropy(logits, targets), rows, inFloats(batch), objective);
        return { loss, losses: [loss] };
      });
      expect(Math.abs(loss.item() - doubles(`${name}.loss`)[0]!)).toBeLessThan(1e-6);
      const difference = maxError(gradientOfParameter(logits)!.read(), floats(`${name}.grad_logits`));
      logits.dispose();
      return difference;
    });
    expect(error).toBeLessThan(2e-6);
  });
});

describe('the reference, whose gradient is the derivative of its loss', () => {
  const R = 9;
  const wave = (k: number, size: number) =>
    Float64Array.from({ length: R }, (_, i) => -1 + size * Math.sin(k * (i + 1)));
  const batch: ReferenceBatch = {
    starts: Int32Array.of(0, 4, 9),
    advantages: Float64Array.of(1.3, -0.7),
    old: wave(1.1, 0.25),
    reference: wave(0.7, 0.6),
    rollout: wave(1.15, 0.27),
    total: { samples: 2, tokens: R, maxTokens: 6 },
  };
  const logProbs = wave(2.3, 0.3);
  const estimators = ['k1', 'k2', 'k3', 'k3-unbiased'] as const;
  const cases: [string, PolicyObjective][] = (['token', 'sequence'] as const).flatMap((ratio) =>
    (['sequence', 'token', 'constant'] as const).flatMap((aggregation) =>
      estimators.map((klEstimator): [string, PolicyObjective] => [
        `ratio of a ${ratio}, ${aggregation} mean, ${klEstimator}`,
        { ...PPO, ratio, aggregation, klEstimator, kl: 0.3, dualClip: 1.15, rolloutCap: 1.02 },
      ]),
    ),
  );

  it.each(cases)('%s', (_, objective) => {
    const h = 1e-6;
    const at = (t: number, by: number) => policyGradient(logProbs.with(t, logProbs[t]! + by), batch, objective).loss;
    const numeric = logProbs.map((_, t) => (at(t, h) - at(t, -h)) / (2 * h));
    expect(maxError(policyGradient(logProbs, batch, objective).gradient, numeric)).toBeLessThan(1e-7);
  });

  it('leaves a bad sample out that the policy has moved away from, but not its penalty', () => {
    const objective = (offPolicyMask: number): PolicyObjective => ({ ...PPO, kl: 0.3, offPolicyMask });
    const [near, far] = [objective(1), objective(0.4)];
    const gone = { ...batch, rollout: logProbs.map((v, t) => v + (t < 4 ? 1 : 0.5)) }; // pi fell to e^-0.5 of it
    const masked = policyGradient(logProbs, gone, far);
    expect(masked.stats.masked).toBe(5); // the good sample stays, however far it has moved
    expect(policyGradient(logProbs, gone, objective(0.51)).stats.masked).toBe(0);
    expect(policyGradient(logProbs, batch, near).loss).toBe(policyGradient(logProbs, batch, { ...PPO, kl: 0.3 }).loss);
    const without = { ...gone, advantages: Float64Array.of(1.3, 0) };
    expect(Array.from(masked.gradient)).toEqual(Array.from(policyGradient(logProbs, without, far).gradient, (g) => g));
    const h = 1e-6;
    const at = (t: number, by: number) => policyGradient(logProbs.with(t, logProbs[t]! + by), gone, far).loss;
    const numeric = logProbs.map((_, t) => (at(t, h) - at(t, -h)) / (2 * h));
    expect(maxError(masked.gradient, numeric)).toBeLessThan(1e-7);
  });

  it('reaches every branch in these cases', () => {
    const { stats } = policyGradient(logProbs, batch, { ...PPO, dualClip: 1.15, rolloutCap: 1.02 });
    for (const count of ['clippedLow', 'clippedHigh', 'dualClipped', 'capped'] as const)
      expect(stats[count], count).toBeGreaterThan(0);
    expect(policyGradient(logProbs, batch, { ...PPO, offPolicyMask: 0.005 }).stats.masked).toBe(5);
  });
});

describe('worked by hand', () => {
  const one = (
    logProb: number,
    advantage: number,
    extra: Partial<ReferenceBatch> = {},
  ): [ArrayLike<number>, ReferenceBatch] => [
    [logProb],
    {
      starts: Int32Array.of(0, 1),
      advantages: Float64Array.of(advantage),
      old: [-1],
      total: { samples: 1, tokens: 1, maxTokens: 1 },
      ...extra,
    },
  ];

  it('on the policy that sampled, the loss is -A and its gradient -A', () => {
    const { loss, gradient } = computed(...one(-1, 2), PPO);
    expect([loss, gradient[0]]).toEqual([-2, -2]);
  });

  it('stops at both edges only in the direction that gained', () => {
    const up = Math.log(1.5) - 1;
    const down = Math.log(0.5) - 1;
    expect(computed(...one(up, 1), PPO)).toMatchObject({ loss: -1.2, gradient: [0] });
    expect(computed(...one(down, -1), PPO)).toMatchObject({ loss: 0.8, gradient: [0] });
    expect(computed(...one(up, -1), PPO).loss).toBeCloseTo(1.5, 6);
    expect(computed(...one(down, 1), PPO).loss).toBeCloseTo(-0.5, 6);
  });

  it('with clip 10, as R1-Zero trained, never clips from below', () => {
    const wide = { ...PPO, clipLow: 10, clipHigh: 10 };
    expect(computed(...one(-15, -1), wide).stats.clippedLow).toBe(0);
    expect(computed(...one(Math.log(12) - 1, 1), wide).loss).toBe(-11);
  });

  it('dual clip bounds what a bad token can cost', () => {
    const far = one(Math.log(7) - 1, -1);
    expect(computed(...far, PPO).loss).toBeCloseTo(7, 6);
    expect(computed(...far, { ...PPO, dualClip: 3 })).toMatchObject({ loss: 3, gradient: [0] });
  });

  it('weighs a token by how likely the trainer finds what the sampler drew, up to the cap', () => {
    const twice = one(-1, 1, { rollout: [-1 - Math.log(2)] });
    expect(computed(...twice, { ...PPO, rolloutCap: 5 }).loss).toBeCloseTo(-2, 6);
    expect(computed(...twice, { ...PPO, rolloutCap: 1.5 }).loss).toBe(-1.5);
  });

  it('takes one ratio for a whole sequence: the geometric mean of its tokens', () => {
    const batch: ReferenceBatch = {
      starts: Int32Array.of(0, 2),
      advantages: Float64Array.of(1),
      old: [-1, -1],
      total: { samples: 1, tokens: 2, maxTokens: 2 },
    };
    const apart = [-1 + Math.log(2), -1 - Math.log(2)]; // ratios 2 and 1/2: their geometric mean is 1
    expect(computed(apart, batch, { ...PPO, ratio: 'sequence' }).loss).toBeCloseTo(-1, 6);
    expect(computed(apart, batch, PPO).loss).toBeCloseTo(-(1.2 + 0.5) / 2, 6);
  });

  it('stays finite where a ratio would not', () => {
    const { loss, gradient } = computed(...one(-1e4, -1, { reference: [0] }), { ...PPO, kl: 1 });
    expect(Number.isFinite(loss)).toBe(true);
    expect(Number.isFinite(gradient[0])).toBe(true);
  });

  it('gives the same sums when an update is cut into parts', () => {
    const old = [-1, -2, -1.5, -0.5];
    const now = [-1.1, -1.9, -1.6, -0.4];
    const total = { samples: 2, tokens: 4, maxTokens: 3 };
    for (const aggregation of ['sequence', 'token', 'constant'] as const) {
      const o = { ...PPO, aggregation };
      const advantages = Float64Array.of(1, -1);
      const whole = computed(now, { starts: Int32Array.of(0, 1, 4), advantages, old, total }, o);
      const a = computed(
        now.slice(0, 1),
        { starts: Int32Array.of(0, 1), advantages: advantages.slice(0, 1), old: old.slice(0, 1), total },
        o,
      );
      const b = computed(
        now.slice(1),
        { starts: Int32Array.of(0, 3), advantages: advantages.slice(1), old: old.slice(1), total },
        o,
      );
      expect(a.loss + b.loss).toBeCloseTo(whole.loss, 12);
      expect([...a.gradient, ...b.gradient]).toEqual([...whole.gradient]);
    }
  });
});
