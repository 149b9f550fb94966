import { type Activation, activation } from '../../src/ops/activation.js';
import { swiglu } from '../../src/ops/swiglu.js';
import { from } from '../../src/tensor/index.js';
import type { OpCase } from './harness.js';
import { inner, sigmoid, swigluOf, valuesOf } from './reference.js';

/** erf by its Taylor series, exact in float64 for |x| <= 5 within 1e-9; beyond, the sign. */
function erf(x: number): number {
  if (Math.abs(x) > 5) return Math.sign(x);
  let sum = 0;
  let term = x;
  for (let n = 0; n < 150; n++) {
    sum += term / (2 * n + 1);
    term *= (-x * x) / (n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

const FUNCTIONS: Record<Activation, (x: number) => number> = {
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  geluTanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  relu: (x) => Math.max(x, 0),
  silu: (x) => x * sigmoid(x),
  tanh: Math.tanh,
};

/** The random values, and a grid that reaches every branch: both tails, and the neighbourhood of 0. */
const GRID = Float64Array.from({ length: 2 * 83 }, (_, i) => (i % 83) / 8 - 5.11 + (i > 83 ? 1e-3 : 0));

const kinds = Object.keys(FUNCTIONS) as Activation[];

const tails = Float64Array.of(-200, -90, -20, -9.7, -1e-6, 0, 1e-6, 9.7, 20, 90, 200);

export const cases: OpCase[] = [
  ...kinds.map(
    (kind): OpCase => ({
      name: `activation: ${kind}`,
      inputs: { x: { shape: [2, 83], data: GRID } },
      run: ({ x }) => activation(inner(x!), kind),
      reference: ({ x }) => valuesOf(x!.shape, (i) => FUNCTIONS[kind](x!.data[i]!)),
      tolerance: { f32: 1e-6, gradient: undefined },
    }),
  ),
  ...kinds.map(
    (kind): OpCase => ({
      name: `activation: ${kind} far from 0 and next to it`,
      inputs: { x: { shape: [tails.length], data: tails, grad: false } },
      run: ({ x }) => activation(x!, kind),
      reference: ({ x }) => valuesOf(x!.shape, (i) => FUNCTIONS[kind](x!.data[i]!)),
      tolerance: { f32: 1e-6 },
    }),
  ),
  {
    name: 'swiglu',
    inputs: { x: { shape: [5, 2 * 13], scale: 3 } },
    run: ({ x }) => swiglu(inner(x!)),
    reference: ({ x }) => swigluOf(x!),
    bad: [
      {
        what: 'an odd width',
        call: () => swiglu(from([1, 2, 3], [1, 3])),
        says: /swiglu_forward: gate_up is \[1,3\]/,
      },
    ],
  },
  {
    name: 'swiglu: rows longer than a task',
    inputs: { x: { shape: [2, 2 * 16390], grad: false } },
    run: ({ x }) => swiglu(x!),
    reference: ({ x }) => swigluOf(x!),
    dtypes: ['f32'],
  },
];
