import * as native from '../../../src/native.gen.js';
import { added, type Call, fresh, nobody } from './bench.js';

/* Losses: of the output layer, of the balance of experts, of reinforcement learning and of preferences. */

/** More rows than one chunk of logits holds. */
function headCall(rows: number, hidden: number, vocabulary: number): Call {
  return {
    name: `linear_cross_entropy in chunks: ${rows} rows`,
    dtypes: ['bf16'],
    tolerance: 2e-2,
    run: (b) => {
      const [x, weight] = [b.draw([rows, hidden], 1), b.draw([vocabulary, hidden], 2)];
      const dnll = b.draw([rows], 3, { dtype: 'f32' });
      const targets = b.ints([rows], (i) => (i % 7 === 3 ? -1 : (i * 5) % vocabulary));
      const [nll, lse] = [b.out([rows], 'f32'), b.out([rows], 'f32')];
      const [dx, dweight, dbias] = [b.out([rows, hidden]), b.draw([vocabulary, hidden], 4, { dtype: 'f32' }), nobody];
      native.linearCrossEntropyTrain(
        nll,
        lse,
        fresh(dx),
        added(dweight),
        dbias,
        dnll,
        x,
        weight,
        undefined,
        targets,
        1e-3,
      );
      return [nll, lse, dx, dweight];
    },
  };
}

const balance = (name: string, rescale: boolean, ownTop: boolean, devices: number): Call => ({
  name: `balance_loss: ${name}`,
  dtypes: ['f32'],
  run: (b) => {
    const [tokens, experts, active] = [53, 12, 3];
    const scores = b.draw([tokens, experts], 1, { scale: 0.1 });
    const positive = b.out(scores.shape);
    native.multiply(fresh(positive), scores, scores);
    const chosen = b.ints([tokens, active], (i) =>
      Math.floor(i / active) % 9 === 4 ? -1 : (i * 5 + (i % active)) % experts,
    );
    const segments = b.ints([4], (i) => [0, 20, 20, tokens][i]!);
    const [loss, dscores] = [b.out([1]), b.out(scores.shape)];
    native.balanceLoss(loss, fresh(dscores), positive, chosen, segments, rescale, ownTop, 0.7, devices, 2, 0.3, 0.2);
    return [loss, dscores];
  },
});

/** 40 samples, of which one is empty and one longer than a block of threads, on every other row or so. */
const policyCall = (name: string, whole: boolean, estimator: number): Call => ({
  name: `policy_loss: ${name}`,
  dtypes: ['f32'],
  tolerance: 1e-5,
  run: (b) => {
    const lengths = Array.from({ length: 40 }, (_, i) => (i === 7 ? 0 : i === 20 ? 300 : 3 + (i % 5)));
    const starts = [0];
    for (const n of lengths) starts.push(starts.at(-1)! + n);
    const tokens = starts.at(-1)!;
    const rows = b.ints([tokens], (t) => 2 * t + (t % 3 === 1 ? 1 : 0));
    const near = (seed: number) => b.draw([tokens], seed, { scale: 0.2 });
    const nll = b.draw([2 * tokens + 5], 1, { scale: 0.2 });
    const advantages = b.out([40], 'f64').write(Float64Array.from(lengths, (_, i) => Math.sin(i)));
    const bounds = b.ints([41], (i) => starts[i]!);
    const passes = [b.out(nll.shape), b.draw(nll.shape, 5)].map((dnll, i) => {
      const [loss, stats] = [b.out([1], 'f64'), b.out([8], 'f64')];
      const into = i ? added(dnll) : fresh(dnll);
      const given = [rows, advantages, bounds, near(2), near(3), near(4)] as const;
      native.policyLoss(loss, stats, into, nll, ...given, 0.2, 0.2, 1.3, whole, 1.1, 0.02, 0.1, estimator, 40, true);
      return [loss, stats, dnll];
    });
    return passes.flat();
  },
});

/** 150 pairs, more than a block of threads, with answers of up to 200 tokens of which one is empty. */
const preferenceCall = (name: string, kind: number, average: boolean): Call => ({
  name: `preference_loss: ${name}`,
  dtypes: ['f32'],
  tolerance: 1e-5,
  run: (b) => {
    const starts = [0];
    for (let i = 0; i < 300; i++) starts.push(starts.at(-1)! + (i === 5 ? 0 : i === 9 ? 200 : 1 + (i % 3)));
    const tokens = starts.at(-1)!;
    const [rows, bounds] = [b.ints([tokens], (t) => 2 * t + (t % 5 === 1 ? 1 : 0)), b.ints([301], (i) => starts[i]!)];
    const x = b.draw([2 * tokens + 3], 1);
    const doubles = (n: number, of: (i: number) => number) =>
      b.out([n], 'f64').write(Float64Array.from({ length: n }, (_, i) => of(i)));
    const [values, loss, dvalues] = [b.out([300], 'f64'), b.out([1], 'f64'), b.out([300], 'f64')];
    native.sequenceSumsForward(values, x, rows, bounds, -0.7, average);
    const reference = doubles(300, Math.sin);
    const targets = kind === 3 ? doubles(300, (i) => i % 2) : doubles(150, (i) => 0.1 * Math.cos(i));
    native.preferenceLoss(loss, dvalues, values, reference, targets, kind, 0.6, 0.1, 0.2, 77);
    const [dx, more] = [b.out(x.shape), b.draw(x.shape, 2)];
    native.sequenceSumsBackward(fresh(dx), dvalues, rows, bounds, -0.7, average);
    native.sequenceSumsBackward(added(more), dvalues, rows, bounds, -0.7, average);
    return [values, loss, dvalues, dx, more];
  },
});

export const lossCalls: readonly Call[] = [
  headCall(4200, 16, 24),
  balance('V3, own choice', true, true, 0),
  balance('V2 with devices', false, false, 3),
  preferenceCall('pairs', 0, false),
  preferenceCall('IPO, averaged', 1, true),
  preferenceCall('labels', 3, false),
  policyCall('ratios of tokens, k3', false, 2),
  policyCall('ratios of samples, k3 without bias', true, 3),
  {
    name: 'linear_cross_entropy_train',
    tolerance: 3e-2,
    run: (b) => {
      const [rows, hidden, vocabulary] = [37, 24, 90];
      const [x, weight, bias] = [b.draw([rows, hidden], 1), b.draw([vocabulary, hidden], 2), b.draw([vocabulary], 3)];
      const targets = b.ints([rows], (i) => (i % 5 === 2 ? -1 : (i * 17) % vocabulary));
      const dnll = b.draw([rows], 4, { dtype: 'f32' });
      const [nll, lse] = [b.out([rows], 'f32'), b.out([rows], 'f32')];
      const [dx, dweight, dbias] = [
        b.out(x.shape),
        b.draw(weight.shape, 5, { dtype: 'f32' }),
        b.out([vocabulary], 'f32'),
      ];
      native.linearCrossEntropyTrain(
        nll,
        lse,
        fresh(dx),
        added(dweight),
        fresh(dbias),
        dnll,
        x,
        weight,
        bias,
        targets,
        0.01,
      );
      return [nll, lse, dx, dweight, dbias];
    },
  },
];
