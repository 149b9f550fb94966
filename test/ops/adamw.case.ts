import * as native from '../../src/native.gen.js';
import { empty, from, type Tensor } from '../../src/tensor/index.js';
import { type Input, type OpCase, randomValues, type Values } from './harness.js';

/*
 * The optimizer's part of a step: AdamW over lists of parameters, with its numbers read on the device, and the router biases.
 */

const SIZES = [40, 17_000, 3, 1200]; // the last one has no gradient
const [LR, BETA1, BETA2, EPS, T] = [0.05, 0.9, 0.95, 1e-6, 3] as const;
const DECAYS = [0.1, 0, 0.3, 0.1];

const values = (size: number, seed: number, positive = false): Input => ({
  shape: [size],
  f32: true,
  grad: false,
  data: randomValues([size], seed).map((x) => (positive ? x * x : x)),
});

const inputs = Object.fromEntries(
  SIZES.flatMap((size, i) => [
    [`p${i}`, values(size, 1 + i)],
    [`g${i}`, { shape: [size], grad: false }],
    [`m${i}`, values(size, 21 + i)],
    [`v${i}`, values(size, 31 + i, true)],
  ]),
);

const copied = (x: Tensor): Tensor => {
  const y = empty(x.shape, x);
  native.copy(y, x);
  return y;
};

function updated(x: Record<string, Tensor>, factor: number): readonly Tensor[] {
  const of = (kind: string) => SIZES.map((_, i) => copied(x[`${kind}${i}`]!));
  const [p, g, m, v] = [of('p'), of('g'), of('m'), of('v')];
  const { device } = p[0]!;
  const rates = from(Float64Array.of(LR, 1 - BETA1 ** T, 1 - BETA2 ** T, T), [4], { device });
  const scale = from(Float32Array.of(factor), [1], { device });
  const taken = g.map((grad, i) => (i === SIZES.length - 1 ? undefined : grad));
  const none = p.map(() => undefined);
  native.adamw(p, none, taken, m, v, DECAYS, scale, rates, BETA1, BETA2, EPS);
  return [...p, ...m, ...v];
}

function reference(x: Record<string, Values>, factor: number): readonly Values[] {
  const of = (kind: string) => SIZES.map((_, i) => x[`${kind}${i}`]!);
  const [p, g, m, v] = [of('p'), of('g'), of('m'), of('v')];
  const idle = (i: number) => i === SIZES.length - 1 || Number.isNaN(factor);
  const map = (of: readonly Values[], f: (old: number, i: number, e: number) => number): Values[] =>
    of.map(({ shape, data }, i) => ({ shape, data: idle(i) ? data : data.map((old, e) => f(old, i, e)) }));
  const grad = (i: number, e: number) => factor * g[i]!.data[e]!;
  const first = map(m, (old, i, e) => BETA1 * old + (1 - BETA1) * grad(i, e));
  const second = map(v, (old, i, e) => BETA2 * old + (1 - BETA2) * grad(i, e) ** 2);
  const next = map(p, (old, i, e) => {
    const rate = Math.sqrt(second[i]!.data[e]! / (1 - BETA2 ** T)) + EPS;
    return old * (1 - LR * DECAYS[i]!) - (LR * (first[i]!.data[e]! / (1 - BETA1 ** T))) / rate;
  });
  return [...next, ...first, ...second];
}

const LAYERS = [4, 130, 8];
const SPEED = 0.125;

/** Two micro-batches' counts of each layer; some loads are the mean itself. */
const routers: OpCase = {
  name: 'add_counts and router_bias',
  inputs: Object.fromEntries(
    LAYERS.flatMap((experts, i) => [
      [`bias${i}`, values(experts, 41 + i)],
      ...[3, 5].map((by, n) => [
        `counts${i}${n}`,
        { shape: [experts], ints: Int32Array.from({ length: experts }, (_, e) => (e * by) % 4) },
      ]),
    ]),
  ) as Record<string, Input>,
  dtypes: ['f32'],
  run: (x) => {
    const of = (kind: string, end = '') => LAYERS.map((_, i) => copied(x[`${kind}${i}${end}`]!));
    const [bias, load] = [of('bias'), of('counts', '0')];
    native.addCounts(load, of('counts', '1'));
    native.routerBias(bias, load, from(Float32Array.of(1), [1], { device: bias[0]!.device }), SPEED);
    return [...bias, ...load];
  },
  reference: (x) => {
    const loads = LAYERS.map((_, i) => {
      const [a, b] = [x[`counts${i}0`]!, x[`counts${i}1`]!];
      return { shape: a.shape, data: a.data.map((n, e) => n + b.data[e]!) };
    });
    const biases = LAYERS.map((experts, i) => {
      const { shape, data } = x[`bias${i}`]!;
      const mean = loads[i]!.data.reduce((sum, n) => sum + n, 0) / experts;
      return { shape, data: data.map((b, e) => b + SPEED * Math.sign(mean - loads[i]!.data[e]!)) };
    });
    return [...biases, ...loads];
  },
};

const one = (device: Tensor['device'], dtype: 'f32' | 'f64' = 'f32', size = 1) => empty([size], { dtype, device });

export const cases: OpCase[] = [
  {
    name: 'adamw over lists',
    inputs,
    run: (x) => updated(x, 0.5),
    reference: (x) => reference(x, 0.5),
    tolerance: { bf16: 2e-5 },
    bad: [
      {
        what: 'lists of different lengths',
        call: () => {
          const { p0, m0, v0 } = cpuTensors();
          native.adamw([p0], [undefined, undefined], [p0], [m0], [v0], [0], one(p0.device), rates(p0), 0, 0, 0);
        },
        says: /lists of 1 and of 2 were given/,
      },
      {
        what: 'an empty list',
        call: () => native.adamw([], [], [], [], [], [], one(cpuTensors().p0.device), rates(cpuTensors().p0), 0, 0, 0),
        says: /an empty list/,
      },
      {
        what: 'a gradient of another size, naming it',
        call: () => {
          const { p0, m0, v0, small } = cpuTensors();
          const [scale, r] = [one(p0.device), rates(p0)];
          native.adamw([p0, p0], [undefined, undefined], [p0, small], [m0, m0], [v0, v0], [0, 0], scale, r, 0, 0, 0);
        },
        says: /adamw: grad is \[3\], but N is 8 from master\[8\]/,
      },
    ],
  },
  {
    name: 'adamw that is forbidden',
    inputs,
    run: (x) => updated(x, Number.NaN),
    reference: (x) => reference(x, Number.NaN),
    tolerance: { f32: 1e-9, bf16: 1e-9 },
  },
  routers,
];

function cpuTensors() {
  const zeros = (n: number) => from(new Float32Array(n), [n]);
  return { p0: zeros(8), m0: zeros(8), v0: zeros(8), small: zeros(3) };
}

const rates = (like: Tensor): Tensor => one(like.device, 'f64', 4);
