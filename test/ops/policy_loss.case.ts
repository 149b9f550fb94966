import * as native from '../../src/native.gen.js';
import type { PolicyObjective } from '../../src/ops/policy_loss.js';
import { empty, from, type Tensor } from '../../src/tensor/index.js';
import type { OpCase, Values } from './harness.js';
import { PPO, policyGradient, type ReferenceBatch } from './policy_reference.js';

/*
 * The op is a root of the backward pass, so its gradient is one of the results here, held against finite differences of the loss
 * in float64.
 */

const ESTIMATORS = ['k1', 'k2', 'k3', 'k3-unbiased'] as const;

const ROWS = Int32Array.of(1, 2, 3, 4, 7, 8, 9, 10, 13); // of 15; the others belong to prompts
const [T, R] = [15, ROWS.length];
const STARTS = Int32Array.of(0, 4, 4, 9); // the second sample is empty
const ADVANTAGES = Float64Array.of(1.3, 2, -0.7);
const TOTAL = { samples: 5, tokens: 31, maxTokens: 6 };

const wave = (k: number, size: number) => Float64Array.from({ length: R }, (_, i) => -1 + size * Math.sin(k * (i + 1)));

/** 1 at the rows of tokens, and numbers elsewhere that would show. */
const NLL = Float64Array.from({ length: T }, (_, row) => {
  const r = ROWS.indexOf(row);
  return r < 0 ? 1e3 : -wave(2.3, 0.3)[r]!;
});

/** The op itself, with the absent ones as it wants them: nobody's bound is infinite. */
function run(x: Record<string, Tensor>, o: PolicyObjective): Tensor[] {
  const { nll, rows, starts, old, reference, rollout } = x;
  const on = { device: nll!.device };
  const [loss, stats, dnll] = [
    empty([1], { dtype: 'f64', ...on }),
    empty([8], { dtype: 'f64', ...on }),
    empty([T], on),
  ];
  const divisor = { sequence: 5, token: 31, constant: 30 }[o.aggregation];
  native.policyLoss(
    loss,
    stats,
    { id: dnll.id, beta: 0 },
    nll!,
    rows!,
    from(ADVANTAGES, [3], on),
    starts!,
    old,
    reference,
    rollout,
    o.clipLow,
    o.clipHigh,
    o.dualClip ?? Infinity,
    o.ratio === 'sequence',
    o.rolloutCap ?? 0,
    o.offPolicyMask ?? Infinity,
    o.kl,
    ESTIMATORS.indexOf(o.klEstimator),
    divisor,
    o.aggregation === 'sequence',
  );
  return [loss, stats, dnll];
}

function reference(x: Record<string, Values>, o: PolicyObjective): Values[] {
  const { nll, rows, starts, old, reference, rollout } = x;
  const batch: ReferenceBatch = {
    starts: Int32Array.from(starts!.data),
    advantages: ADVANTAGES,
    old: old?.data,
    reference: reference?.data,
    rollout: rollout?.data,
    total: TOTAL,
  };
  const logProbs = Float64Array.from(rows!.data, (row) => -nll!.data[row]!);
  const before = { ...batch, old: batch.old ?? logProbs };
  const at = (t: number, by: number) => policyGradient(logProbs.with(t, logProbs[t]! + by), before, o).loss;
  const dnll = new Float64Array(T);
  rows!.data.forEach((row, t) => {
    dnll[row] = -(at(t, 1e-6) - at(t, -1e-6)) / 2e-6;
  });
  const { loss, stats } = policyGradient(logProbs, before, o);
  return [
    { shape: [1], data: Float64Array.of(loss) },
    { shape: [8], data: Float64Array.from(Object.values(stats)) },
    { shape: [T], data: dnll },
  ];
}

/** `given`: which log-probabilities there are besides the policy's own. */
function policyCase(
  name: string,
  o: PolicyObjective,
  given: readonly ('old' | 'reference' | 'rollout')[] = ['old', 'reference', 'rollout'],
  bad: OpCase['bad'] = [],
): OpCase {
  const all = { old: wave(1.1, 0.25), reference: wave(0.7, 0.6), rollout: wave(1.15, 0.27) };
  const floats = (data: Float64Array) => ({ shape: [data.length], data, grad: false });
  return {
    name: `policy_loss: ${name}`,
    inputs: {
      nll: floats(NLL),
      rows: { shape: [R], ints: ROWS },
      starts: { shape: [4], ints: STARTS },
      ...Object.fromEntries(given.map((which) => [which, floats(all[which])])),
    },
    run: (x) => run(x, o),
    reference: (x) => reference(x, o),
    dtypes: ['f32'],
    tolerance: { f32: 1e-6 },
    bad,
  };
}

const call = (change: Record<string, Tensor>) =>
  run(
    {
      nll: from(
        NLL.map((v) => v),
        [T],
      ),
      rows: from(ROWS),
      starts: from(STARTS),
      ...change,
    },
    PPO,
  );
const float32 = (values: ArrayLike<number>) => from(Float32Array.from(values));
const badCall = (change: () => Record<string, Tensor>) => () => call({ nll: float32(NLL), ...change() });

const bad: NonNullable<OpCase['bad']> = [
  {
    what: 'a row beyond the log-probabilities',
    call: badCall(() => ({ rows: from(ROWS.with(8, T)) })),
    says: /policy_loss: rows must rise and lie in 0 to 14, but token 8 has row 15/,
  },
  {
    what: 'a row of two tokens',
    call: badCall(() => ({ rows: from(ROWS.with(1, 1)) })),
    says: /rows must rise .* token 1 has row 1/,
  },
  {
    what: 'samples that end before the tokens do',
    call: badCall(() => ({ starts: from(STARTS.with(3, 8)) })),
    says: /policy_loss: starts must rise from 0 to the number of tokens, 9/,
  },
  {
    what: 'samples out of order',
    call: badCall(() => ({ starts: from(Int32Array.of(0, 5, 4, 9)) })),
    says: /starts must rise/,
  },
  {
    what: 'old log-probabilities of other tokens',
    call: badCall(() => ({ old: float32(new Float64Array(R + 1)) })),
    says: /policy_loss: old is \[10\], but R is 9/,
  },
  {
    what: 'bounds of other samples',
    call: badCall(() => ({ starts: from(Int32Array.of(0, 4, 9)) })),
    says: /policy_loss: starts is \[3\]/,
  },
];

export const cases: OpCase[] = [
  policyCase('on the policy that sampled', PPO, [], bad),
  policyCase('clipped, without a reference', { ...PPO, clipHigh: 0.28, aggregation: 'token' }, ['old']),
  policyCase('a sample left out', { ...PPO, kl: 0.3, offPolicyMask: 0.005 }),
  policyCase('importance weights of whole samples, no KL', { ...PPO, ratio: 'sequence', rolloutCap: 1.001 }),
  ...(['token', 'sequence'] as const).flatMap((ratio) =>
    (['sequence', 'token', 'constant'] as const).flatMap((aggregation) =>
      ESTIMATORS.map((klEstimator) =>
        policyCase(`ratio of a ${ratio}, ${aggregation} mean, ${klEstimator}`, {
          ...PPO,
          ratio,
          aggregation,
          klEstimator,
          kl: 0.3,
          dualClip: 1.15,
          rolloutCap: 1.02,
        }),
      ),
    ),
  ),
];
