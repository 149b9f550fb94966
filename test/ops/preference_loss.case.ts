import * as native from '../../src/native.gen.js';
import type { PreferenceBatch, PreferenceObjective } from '../../src/ops/preference_loss.js';
import { empty, from, type Tensor } from '../../src/tensor/index.js';
import type { OpCase, Values } from './harness.js';
import { definition } from './preference_reference.js';

/*
 * The loss is a root of the backward pass, so its gradient is one of the results here, held against finite differences of the
 * definition in float64.
 */

const KINDS = ['sigmoid', 'ipo', 'hinge', 'pointwise'] as const;
const ROWS = Int32Array.of(1, 2, 4, 5, 6, 7, 8, 9, 11); // of 13
const T = 13;
const STARTS = Int32Array.of(0, 2, 3, 3, 6, 8, 9); // three pairs; the third answer is empty
const S = STARTS.length - 1;

interface Setting {
  readonly objective: PreferenceObjective;
  readonly batch: PreferenceBatch;
  readonly factor: number;
  readonly average: boolean;
}

const doubles = (x: ArrayLike<number> | undefined, like: Tensor) =>
  x && from(Float64Array.from(x), undefined, { device: like.device });

function run({ x, rows, starts }: Record<string, Tensor>, { objective: o, batch, factor, average }: Setting): Tensor[] {
  const like = { dtype: 'f64', device: x!.device } as const;
  const [values, loss, dvalues] = [empty([S], like), empty([1], like), empty([S], like)];
  const dx = empty([T], x!);
  native.sequenceSumsForward(values, x!, rows!, starts!, factor, average);
  const given = [doubles(batch.reference, x!), doubles(batch.targets, x!), KINDS.indexOf(o.kind)] as const;
  native.preferenceLoss(loss, dvalues, values, ...given, o.beta, o.smoothing ?? 0, o.center ?? 0, batch.total);
  native.sequenceSumsBackward({ id: dx.id, beta: 0 }, dvalues, rows!, starts!, factor, average);
  return [values, loss, dvalues, dx];
}

function reference(x: Values, { objective, batch, factor, average }: Setting): Values[] {
  const valuesOf = (data: Float64Array) =>
    Float64Array.from({ length: S }, (_, i) => {
      const own = ROWS.subarray(STARTS[i], STARTS[i + 1]);
      const sum = own.reduce((all, row) => all + data[row]!, 0);
      return (factor * sum) / (average ? Math.max(own.length, 1) : 1);
    });
  const slopes = (at: Float64Array, of: (moved: Float64Array) => number) =>
    at.map((v, i) => (of(at.with(i, v + 1e-6)) - of(at.with(i, v - 1e-6))) / 2e-6);
  const lossOf = (values: Float64Array) => definition(values, batch, objective).loss;
  const values = valuesOf(x.data);
  return [
    { shape: [S], data: values },
    { shape: [1], data: Float64Array.of(lossOf(values)) },
    { shape: [S], data: slopes(values, lossOf) },
    { shape: [T], data: slopes(x.data, (data) => lossOf(valuesOf(data))) },
  ];
}

function preferenceCase(name: string, setting: Setting, bad: OpCase['bad'] = []): OpCase {
  return {
    name: `preference_loss: ${name}`,
    inputs: {
      x: { shape: [T], grad: false },
      rows: { shape: [ROWS.length], ints: ROWS },
      starts: { shape: [S + 1], ints: STARTS },
    },
    run: (x) => run(x, setting),
    reference: ({ x }) => reference(x!, setting),
    dtypes: ['f32'],
    tolerance: { f32: 1e-6 },
    bad,
  };
}

const held = Float64Array.of(-1, -2, 0.3, -3, 0.2, 1);
const dpo = (kind: 'sigmoid' | 'ipo' | 'hinge', smoothing: number, reference?: Float64Array): Setting => ({
  objective: { kind, beta: 0.7, smoothing },
  batch: { reference, total: 4 },
  factor: -1,
  average: kind === 'ipo',
});
const scores = (objective: PreferenceObjective, targets: readonly number[]): Setting => ({
  objective,
  batch: { targets, total: 5 },
  factor: 1,
  average: false,
});

const sums = (rows: Int32Array, starts: Int32Array) => () =>
  run({ x: from(new Float32Array(T)), rows: from(rows), starts: from(starts) }, dpo('sigmoid', 0));
const choices = (values: number, targets: number, kind: number) => () => {
  const of = (n: number) => from(new Float64Array(n));
  native.preferenceLoss(of(1), undefined, of(values), undefined, of(targets), kind, 1, 0, 0, 1);
};

export const cases: OpCase[] = [
  preferenceCase('DPO', dpo('sigmoid', 0, held), [
    {
      what: 'a row of two tokens',
      call: sums(ROWS.with(3, 4), STARTS),
      says: /sequence_sums_forward: rows must rise and lie in 0 to 12, but token 3 has row 4/,
    },
    {
      what: 'answers that end after the tokens do',
      call: sums(ROWS, STARTS.with(S, 10)),
      says: /sequence_sums_forward: starts must rise from 0 to the number of tokens, 9/,
    },
    { what: 'a pair without its other side', call: choices(3, 1, 0), says: /pairs have two values each, .* 3/ },
    { what: 'margins of other pairs', call: choices(4, 4, 0), says: /there are 4 margins or labels for 2 choices/ },
    { what: 'labels of other answers', call: choices(4, 2, 3), says: /there are 2 margins or labels for 4 choices/ },
  ]),
  preferenceCase('DPO without a reference, smoothed', dpo('sigmoid', 0.2)),
  preferenceCase('IPO, averaged over tokens', dpo('ipo', 0, held)),
  preferenceCase('hinge', dpo('hinge', 0, held)),
  preferenceCase('scores with margin and centering', scores({ kind: 'sigmoid', beta: 1, center: 0.3 }, [0.1, 0.5, 1])),
  preferenceCase('labels', scores({ kind: 'pointwise', beta: 1 }, [1, 0, 0, 1, 0.5, 1])),
];
