import { describe, expect, it } from 'vitest';
import { openSafetensors } from '../../src/hub/safetensors.js';
import { crossEntropy } from '../../src/ops/cross_entropy.js';
import { type DpoObjective, dpoGradient, dpoLoss } from '../../src/ops/dpo_loss.js';
import { pairwiseReward, pointwiseReward, rewardLoss } from '../../src/ops/reward_loss.js';
import { logSigmoid, sigmoid } from '../../src/ops/sigmoid.js';
import { differentiate, from, gradientOfParameter, parameter, scope } from '../../src/tensor/index.js';
import { maxError } from '../models/golden.js';
import { sharedPath } from '../shared.js';

const path = sharedPath('golden/preference.safetensors');
const inTurn = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Float64Array.from({ length: 2 * a.length }, (_, i) => (i % 2 ? b : a)[i >> 1]!);

describe.skipIf(!path)(
  'preference losses against the golden file (needs ../shared/golden/preference.safetensors)',
  () => {
    const file = path ? openSafetensors(path) : undefined;
    const bytes = (name: string) => file!.tensors.get(name)!.read().slice().buffer;
    const doubles = (name: string) => new Float64Array(bytes(name));
    const floats = (name: string) => new Float32Array(bytes(name));
    const ints = (name: string) => new Int32Array(bytes(name));
    const [pairs, length, vocabulary] = [5, 13, 31];

    it.each([['reward'], ['reward_margin']])('%s: loss and gradients in float64', (name) => {
      const margin = name === 'reward_margin' ? doubles('reward.margin') : undefined;
      const scores = inTurn(doubles('reward.chosen'), doubles('reward.rejected'));
      const { loss, gradient } = pairwiseReward(scores, { margin, total: scores.length / 2 });
      expect(Math.abs(loss - doubles(`${name}.loss`)[0]!)).toBeLessThan(1e-14);
      const expected = inTurn(doubles(`${name}.grad_chosen`), doubles(`${name}.grad_rejected`));
      expect(maxError(gradient, expected)).toBeLessThan(1e-14);
    });

    /** Rows with a mask of one side after the other, pair by pair: 2N sequences of `length` rows. */
    function tokens() {
      const masks = [ints('dpo.chosen.mask'), ints('dpo.rejected.mask')];
      const rows: number[] = [];
      const starts = [0];
      for (let s = 0; s < 2 * pairs; s++) {
        for (let t = 0; t < length; t++) if (masks[s % 2]![(s >> 1) * length + t]) rows.push(s * length + t);
        starts.push(rows.length);
      }
      return { rows: Int32Array.from(rows), starts: Int32Array.from(starts) };
    }

    /** [pairs, length, ..] of both sides as [2 pairs, length, ..], chosen and rejected in turn. */
    function woven<A extends Float32Array | Int32Array>(chosen: A, rejected: A): A {
      const size = chosen.length / pairs;
      const out = new (chosen.constructor as new (n: number) => A)(2 * chosen.length);
      for (let i = 0; i < pairs; i++) {
        out.set(chosen.subarray(i * size, (i + 1) * size), 2 * i * size);
        out.set(rejected.subarray(i * size, (i + 1) * size), (2 * i + 1) * size);
      }
      return out;
    }

    it.each([
      ['dpo', 0],
      ['dpo_smooth', 0.1],
    ])('%s: loss, rewards, and the gradient through log-softmax to the logits', (name, smoothing) => {
      const { rows, starts } = tokens();
      const objective: DpoObjective = { beta: 0.1, kind: 'sigmoid', smoothing };
      scope(() => {
        const shape = [2 * pairs * length, vocabulary];
        const side = (what: string) => woven(floats(`dpo.chosen.${what}`), floats(`dpo.rejected.${what}`));
        const targets = from(woven(ints('dpo.chosen.tokens'), ints('dpo.rejected.tokens')));
        const held = crossEntropy(from(side('ref_logits'), shape), targets).read();
        const reference = Float64Array.from({ length: 2 * pairs }, (_, i) =>
          rows.subarray(starts[i], starts[i + 1]).reduce((sum, row) => sum - held[row]!, 0),
        );
        const logits = parameter(from(side('logits'), shape));
        const { value } = differentiate(() => {
          const value = dpoLoss(crossEntropy(logits, targets), rows, starts, { reference, total: pairs }, objective);
          return { value, losses: [value.root] };
        });
        expect(Math.abs(value.loss - doubles(`${name}.loss`)[0]!)).toBeLessThan(1e-6);
        const rewards = inTurn(doubles('dpo.chosen.reward'), doubles('dpo.rejected.reward'));
        expect(maxError(value.rewards, rewards)).toBeLessThan(2e-6);
        const expected = woven(floats(`${name}.chosen.grad_logits`), floats(`${name}.rejected.grad_logits`));
        expect(maxError(gradientOfParameter(logits)!.read(), expected)).toBeLessThan(2e-6);
        logits.dispose();
      });
    });
  },
);

describe('the gradient is the derivative of the loss', () => {
  const values = Float64Array.from({ length: 8 }, (_, i) => 2 * Math.sin(1.7 * i + 0.3));
  const numeric = (of: (v: Float64Array) => number) =>
    values.map((v, i) => (of(values.with(i, v + 1e-6)) - of(values.with(i, v - 1e-6))) / 2e-6);
  const reference = values.map((v, i) => v + 0.4 * Math.cos(i));

  it('of pairs, with margin and centering', () => {
    const options = { margin: [0.1, 0.5, 0, 1], center: 0.3, total: 4 };
    const { gradient } = pairwiseReward(values, options);
    expect(
      maxError(
        gradient,
        numeric((v) => pairwiseReward(v, options).loss),
      ),
    ).toBeLessThan(1e-8);
  });

  it('of labels', () => {
    const labels = [1, 0, 0, 1, 1, 0, 0.5, 1];
    const { gradient } = pointwiseReward(values, labels, 8);
    expect(
      maxError(
        gradient,
        numeric((v) => pointwiseReward(v, labels, 8).loss),
      ),
    ).toBeLessThan(1e-8);
  });

  it.each([
    ['sigmoid', 0],
    ['sigmoid', 0.2],
    ['ipo', 0],
    ['hinge', 0],
  ] as const)('of DPO: %s, smoothing %d', (kind, smoothing) => {
    const o = { beta: 0.7, kind, smoothing };
    for (const batch of [{ reference, total: 4 }, { total: 4 }]) {
      const { gradient } = dpoGradient(values, batch, o);
      expect(
        maxError(
          gradient,
          numeric((v) => dpoGradient(v, batch, o).loss),
        ),
      ).toBeLessThan(1e-7);
    }
  });

  it('of DPO through single tokens, summed and averaged', () => {
    const rows = Int32Array.of(1, 2, 4, 5, 6, 7, 8, 9);
    const starts = Int32Array.of(0, 2, 3, 3, 8);
    const o: DpoObjective = { beta: 0.5, kind: 'sigmoid', smoothing: 0.1 };
    const nll = Float32Array.from({ length: 10 }, (_, i) => 1 + Math.sin(i));
    for (const average of [false, true]) {
      const lossAt = (v: Float32Array) =>
        scope(() => dpoLoss(from(v), rows, starts, { reference: [-1, -2, 0, -3], total: 2 }, o, average).loss);
      const gradient = scope(() => {
        const x = parameter(from(nll));
        differentiate(() => ({
          losses: [dpoLoss(x, rows, starts, { reference: [-1, -2, 0, -3], total: 2 }, o, average).root],
        }));
        const g = gradientOfParameter(x)!.read();
        x.dispose();
        return g;
      });
      const h = 2 ** -10;
      const expected = nll.map((v, i) => (lossAt(nll.with(i, v + h)) - lossAt(nll.with(i, v - h))) / (2 * h));
      expect(maxError(gradient, expected)).toBeLessThan(1e-4);
      expect([gradient[0], gradient[3]]).toEqual([0, 0]); // rows that no completion has
    }
  });
});

describe('worked by hand', () => {
  it('a tie costs ln 2 and pulls both sides by a half', () => {
    const { loss, gradient } = pairwiseReward([3, 3], { total: 1 });
    expect(loss).toBeCloseTo(Math.LN2, 15);
    expect([...gradient]).toEqual([-0.5, 0.5]);
  });

  it('a margin asks for a lead as large: then it is a tie again', () => {
    expect(pairwiseReward([2, 1], { margin: [1], total: 1 }).loss).toBeCloseTo(Math.LN2, 15);
  });

  it('centering pulls the sum of both scores to 0', () => {
    const { loss, gradient } = pairwiseReward([1, 1], { center: 0.01, total: 1 });
    expect(loss).toBeCloseTo(Math.LN2 + 0.04, 15);
    expect(gradient[0]).toBeCloseTo(-0.5 + 0.04, 15);
  });

  it('labels: the gradient is probability minus label', () => {
    const { loss, gradient } = pointwiseReward([0, Math.log(3)], [1, 0], 2);
    expect(loss).toBeCloseTo((Math.LN2 + Math.log(4)) / 2, 15);
    expect([...gradient].map((g) => Math.round(g * 1e12) / 1e12)).toEqual([-0.25, 0.375]);
  });

  it('DPO on the reference itself is a tie; IPO and hinge have their own distance to go', () => {
    const batch = { reference: [-5, -7], total: 1 };
    const at = (o: Partial<DpoObjective>) =>
      dpoGradient([-5, -7], batch, { beta: 0.1, kind: 'sigmoid', smoothing: 0, ...o });
    expect(at({}).loss).toBeCloseTo(Math.LN2, 15);
    expect([...at({}).gradient]).toEqual([-0.05, 0.05]);
    expect(at({ smoothing: 0.5 }).gradient[0]).toBeCloseTo(0, 15); // labels that say nothing teach nothing
    expect(at({ kind: 'ipo' }).loss).toBeCloseTo(25, 12);
    expect(at({ kind: 'hinge' }).loss).toBe(1);
  });

  it('without a reference the log-probabilities themselves are compared', () => {
    const { rewards } = dpoGradient([-4, -6], { total: 1 }, { beta: 0.5, kind: 'sigmoid', smoothing: 0 });
    expect([...rewards]).toEqual([-2, -3]);
  });

  it('stays finite and exact at the ends', () => {
    expect([sigmoid(-800), sigmoid(800), logSigmoid(-800), logSigmoid(800)]).toEqual([0, 1, -800, 0]);
    expect(pairwiseReward([-800, 800], { total: 1 })).toMatchObject({ loss: 1600, gradient: Float64Array.of(-1, 1) });
    expect(pointwiseReward([900, -900], [0, 1], 2).loss).toBe(900);
  });

  it('gives the same sums when an update is cut into parts', () => {
    const scores = [0.3, -0.2, 1.5, 2];
    const whole = pairwiseReward(scores, { center: 0.1, total: 2 });
    const parts = [0, 2].map((i) => pairwiseReward(scores.slice(i, i + 2), { center: 0.1, total: 2 }));
    expect(parts[0]!.loss + parts[1]!.loss).toBeCloseTo(whole.loss, 15);
    expect(parts.flatMap((p) => [...p.gradient])).toEqual([...whole.gradient]);
  });

  it('as an op, hands the gradient to the rows that were scored', () => {
    scope(() => {
      const scores = parameter(from(Float32Array.of(9, 2, 9, 2), [4, 1]));
      const { scores: read } = differentiate(() => {
        const value = rewardLoss(scores, Int32Array.of(1, 3), (s) => pairwiseReward(s, { total: 1 }));
        return { ...value, losses: [value.root] };
      });
      expect([...read]).toEqual([2, 2]);
      expect([...gradientOfParameter(scores)!.read()]).toEqual([0, -0.5, 0, 0.5]);
      scores.dispose();
    });
  });
});
