import { describe, expect, it } from 'vitest';
import { openSafetensors } from '../../src/hub/safetensors.js';
import { crossEntropy } from '../../src/ops/cross_entropy.js';
import {
  logProbsOfAnswers,
  type PreferenceObjective,
  preferenceLoss,
  preferenceOf,
  scoresAt,
} from '../../src/ops/preference_loss.js';
import { sigmoid } from '../../src/ops/sigmoid.js';
import { differentiate, from, gradientOfParameter, parameter, scope } from '../../src/tensor/index.js';
import { maxError } from '../models/golden.js';
import { sharedPath } from '../shared.js';

const PAIRS: PreferenceObjective = { kind: 'sigmoid', beta: 1 };
const LABELS: PreferenceObjective = { kind: 'pointwise', beta: 1 };

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
      const { loss, gradient } = preferenceOf(scores, { targets: margin, total: scores.length / 2 }, PAIRS);
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
      const objective: PreferenceObjective = { beta: 0.1, kind: 'sigmoid', smoothing };
      scope(() => {
        const shape = [2 * pairs * length, vocabulary];
        const side = (what: string) => woven(floats(`dpo.chosen.${what}`), floats(`dpo.rejected.${what}`));
        const targets = from(woven(ints('dpo.chosen.tokens'), ints('dpo.rejected.tokens')));
        const held = crossEntropy(from(side('ref_logits'), shape), targets).read();
        const reference = Float64Array.from({ length: 2 * pairs }, (_, i) =>
          rows.subarray(starts[i], starts[i + 1]).reduce((sum, row) => sum - held[row]!, 0),
        );
        const logits = parameter(from(side('logits'), shape));
        const answers = logProbsOfAnswers(rows, starts, false);
        const { loss, values } = differentiate(() => {
          const value = preferenceLoss(crossEntropy(logits, targets), answers, { reference, total: pairs }, objective);
          return { ...value, losses: [value.loss] };
        });
        expect(Math.abs(loss.item() - doubles(`${name}.loss`)[0]!)).toBeLessThan(1e-6);
        const rewards = inTurn(doubles('dpo.chosen.reward'), doubles('dpo.rejected.reward'));
        const implied = values.readDoubles().map((v, i) => 0.1 * (v - reference[i]!));
        expect(maxError(implied, rewards)).toBeLessThan(2e-6);
        const expected = woven(floats(`${name}.chosen.grad_logits`), floats(`${name}.rejected.grad_logits`));
        expect(maxError(gradientOfParameter(logits)!.read(), expected)).toBeLessThan(2e-6);
        logits.dispose();
      });
    });
  },
);

describe('the gradient', () => {
  it('goes through single tokens, summed and averaged, to the rows that answers have', () => {
    const rows = Int32Array.of(1, 2, 4, 5, 6, 7, 8, 9);
    const starts = Int32Array.of(0, 2, 3, 3, 8);
    const objective: PreferenceObjective = { beta: 0.5, kind: 'sigmoid', smoothing: 0.1 };
    const batch = { reference: [-1, -2, 0, -3], total: 2 };
    const nll = Float32Array.from({ length: 10 }, (_, i) => 1 + Math.sin(i));
    for (const average of [false, true]) {
      const answers = logProbsOfAnswers(rows, starts, average);
      const lossAt = (v: Float32Array) => scope(() => preferenceLoss(from(v), answers, batch, objective).loss.item());
      const gradient = scope(() => {
        const x = parameter(from(nll));
        differentiate(() => ({ losses: [preferenceLoss(x, answers, batch, objective).loss] }));
        const g = gradientOfParameter(x)!.read();
        x.dispose();
        return g;
      });
      const h = 2 ** -10;
      const expected = nll.map((v, i) => (lossAt(nll.with(i, v + h)) - lossAt(nll.with(i, v - h))) / (2 * h));
      expect(maxError(gradient, expected)).toBeLessThan(1e-4);
      expect([gradient[0], gradient[3]]).toEqual([0, 0]); // rows that no answer has
    }
  });
});

describe('worked by hand', () => {
  it('a tie costs ln 2 and pulls both sides by a half', () => {
    const { loss, gradient } = preferenceOf([3, 3], { total: 1 }, PAIRS);
    expect(loss).toBeCloseTo(Math.LN2, 15);
    expect([...gradient]).toEqual([-0.5, 0.5]);
  });

  it('a margin asks for a lead as large: then it is a tie again', () => {
    expect(preferenceOf([2, 1], { targets: [1], total: 1 }, PAIRS).loss).toBeCloseTo(Math.LN2, 15);
  });

  it('centering pulls the sum of both scores to 0', () => {
    const { loss, gradient } = preferenceOf([1, 1], { total: 1 }, { ...PAIRS, center: 0.01 });
    expect(loss).toBeCloseTo(Math.LN2 + 0.04, 15);
    expect(gradient[0]).toBeCloseTo(-0.5 + 0.04, 15);
  });

  it('labels: the gradient is probability minus label', () => {
    const { loss, gradient } = preferenceOf([0, Math.log(3)], { targets: [1, 0], total: 2 }, LABELS);
    expect(loss).toBeCloseTo((Math.LN2 + Math.log(4)) / 2, 15);
    expect([...gradient].map((g) => Math.round(g * 1e12) / 1e12)).toEqual([-0.25, 0.375]);
  });

  it('DPO on the reference itself is a tie; IPO and hinge have their own distance to go', () => {
    const batch = { reference: [-5, -7], total: 1 };
    const at = (o: Partial<PreferenceObjective>) =>
      preferenceOf([-5, -7], batch, { beta: 0.1, kind: 'sigmoid', smoothing: 0, ...o });
    expect(at({}).loss).toBeCloseTo(Math.LN2, 15);
    expect([...at({}).gradient]).toEqual([-0.05, 0.05]);
    expect(at({ smoothing: 0.5 }).gradient[0]).toBeCloseTo(0, 15); // labels that say nothing teach nothing
    expect(at({ kind: 'ipo' }).loss).toBeCloseTo(25, 12);
    expect(at({ kind: 'hinge' }).loss).toBe(1);
  });

  it('without a reference the log-probabilities themselves are compared', () => {
    const { loss } = preferenceOf([-4, -6], { total: 1 }, { beta: 0.5, kind: 'sigmoid' });
    expect(loss).toBeCloseTo(Math.log(1 + Math.exp(-1)), 15);
  });

  it('stays finite and exact at the ends', () => {
    expect([sigmoid(-800), sigmoid(800)]).toEqual([0, 1]);
    expect(preferenceOf([-800, 800], { total: 1 }, PAIRS)).toMatchObject({
      loss: 1600,
      gradient: Float64Array.of(-1, 1),
    });
    expect(preferenceOf([900, -900], { targets: [0, 1], total: 2 }, LABELS).loss).toBe(900);
  });

  it('gives the same sums when an update is cut into parts', () => {
    const scores = [0.3, -0.2, 1.5, 2];
    const pull = { ...PAIRS, center: 0.1 };
    const whole = preferenceOf(scores, { total: 2 }, pull);
    const parts = [0, 2].map((i) => preferenceOf(scores.slice(i, i + 2), { total: 2 }, pull));
    expect(parts[0]!.loss + parts[1]!.loss).toBeCloseTo(whole.loss, 15);
    expect(parts.flatMap((p) => [...p.gradient])).toEqual([...whole.gradient]);
  });

  it('as an op, hands the gradient to the rows that were scored', () => {
    scope(() => {
      const scores = parameter(from(Float32Array.of(9, 2, 9, 2), [4, 1]));
      const { values } = differentiate(() => {
        const value = preferenceLoss(scores, scoresAt(Int32Array.of(1, 3)), { total: 1 }, PAIRS);
        return { ...value, losses: [value.loss] };
      });
      expect([...values.readDoubles()]).toEqual([2, 2]);
      expect([...gradientOfParameter(scores)!.read()]).toEqual([0, -0.5, 0, 0.5]);
      scores.dispose();
    });
  });
});
