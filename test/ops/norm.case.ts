import { layernorm } from '../../src/ops/layernorm.js';
import { rmsnorm } from '../../src/ops/rmsnorm.js';
import { from, split, type Tensor } from '../../src/tensor/index.js';
import type { OpCase, Values } from './harness.js';
import { inner } from './reference.js';

const ones = (n: number) => from(new Float32Array(n).fill(1), [n]);

/** Applies f to every row of x. */
function byRow(x: Values, f: (row: Float64Array) => Float64Array): Values {
  const width = x.shape.at(-1)!;
  const data = new Float64Array(x.data.length);
  for (let at = 0; at < data.length; at += width) data.set(f(x.data.subarray(at, at + width)), at);
  return { shape: x.shape, data };
}

const mean = (x: Float64Array) => x.reduce((a, b) => a + b, 0) / x.length;

function rms(x: Values, w: Values, eps: number): Values {
  return byRow(x, (row) => {
    const r = 1 / Math.sqrt(mean(row.map((v) => v * v)) + eps);
    return row.map((v, i) => v * r * w.data[i]!);
  });
}

function layer(x: Values, w: Values, b: Values | undefined, eps: number): Values {
  return byRow(x, (row) => {
    const m = mean(row);
    const r = 1 / Math.sqrt(mean(row.map((v) => (v - m) ** 2)) + eps);
    return row.map((v, i) => (v - m) * r * w.data[i]! + (b?.data[i] ?? 0));
  });
}

function rmsCase(
  name: string,
  shape: readonly number[],
  options: { eps?: number; scale?: number; f32?: boolean } = {},
): OpCase {
  const { eps = 1e-6, scale = 1, f32 = false } = options;
  return {
    name,
    inputs: { x: { shape, scale }, w: { shape: [shape.at(-1)!], f32 } },
    run: ({ x, w }) => rmsnorm(inner(x!), w!, eps),
    reference: ({ x, w }) => rms(x!, w!, eps),
  };
}

/** The middle channels of x, which lie apart in memory, and whose gradient is a part of x's. */
const middle = (x: Tensor) => split(x, [5, 11, 3])[1]!;
const middleOf = (x: Values): Values => {
  const rows = x.shape[0]!;
  const data = new Float64Array(rows * 11);
  for (let r = 0; r < rows; r++) data.set(x.data.subarray(r * 19 + 5, r * 19 + 16), r * 11);
  return { shape: [rows, 11], data };
};

export const cases: OpCase[] = [
  {
    ...rmsCase('rmsnorm: a partial vector', [3, 2, 19]),
    bad: [
      {
        what: 'a gain of another length',
        call: () => rmsnorm(from([1, 2], [1, 2]), ones(3)),
        says: /rmsnorm_forward: weight is \[3\], but C is 2 from y\[1,2\]/,
      },
      {
        what: 'integers',
        call: () => rmsnorm(from(Int32Array.of(1, 2), [1, 2]), ones(2)),
        says: /y is i32, but f32 or bf16 is expected/,
      },
    ],
  },
  rmsCase('rmsnorm: more rows than blocks of rows, gain in f32', [521, 3], { f32: true }),
  rmsCase('rmsnorm: several vectors, values near eps', [9, 100], { scale: 1e-3, eps: 1e-5 }),
  rmsCase('rmsnorm: several vectors and a part, gain in f32', [11, 83], { f32: true }),
  {
    name: 'rmsnorm: a window',
    inputs: { x: { shape: [6, 19] }, w: { shape: [11] } },
    run: ({ x, w }) => rmsnorm(middle(inner(x!)), w!),
    reference: ({ x, w }) => rms(middleOf(x!), w!, 1e-6),
  },
  {
    name: 'layernorm',
    inputs: { x: { shape: [5, 37] }, w: { shape: [37] }, b: { shape: [37] } },
    run: ({ x, w, b }) => layernorm(inner(x!), w!, b!, 1e-5),
    reference: ({ x, w, b }) => layer(x!, w!, b!, 1e-5),
    bad: [
      {
        what: 'a bias of another length',
        call: () => layernorm(from([1, 2], [1, 2]), ones(2), ones(3)),
        says: /bias is \[3\], but C is 2/,
      },
    ],
  },
  {
    name: 'layernorm: no bias, many rows, f32 gain',
    inputs: { x: { shape: [523, 4] }, w: { shape: [4], f32: true } },
    run: ({ x, w }) => layernorm(inner(x!), w!, undefined, 1e-12),
    reference: ({ x, w }) => layer(x!, w!, undefined, 1e-12),
    tolerance: { gradient: 4e-2 },
    dtypes: ['bf16'],
  },
  {
    name: 'layernorm: a mean far from zero does not cancel',
    inputs: {
      x: { shape: [4, 64], data: Float64Array.from({ length: 256 }, (_, i) => 1000 + Math.sin(i * i)), grad: false },
      w: { shape: [64], grad: false },
    },
    run: ({ x, w }) => layernorm(inner(x!), w!, undefined, 1e-5),
    reference: ({ x, w }) => layer(x!, w!, undefined, 1e-5),
    tolerance: { f32: 2e-4 },
    dtypes: ['f32'],
  },
];
