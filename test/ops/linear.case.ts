import { headsLinear, linear, linearSwiglu } from '../../src/ops/linear.js';
import { exchanged, from } from '../../src/tensor/index.js';
import type { OpCase, Values } from './harness.js';
import { inner, swigluOf } from './reference.js';

/** y[r][n] = b[n] + sum_k x[r][k] w[n][k] */
function product(x: Values, w: Values, b?: Values): Values {
  const [rows, depth] = x.shape as [number, number];
  const cols = w.shape[0]!;
  const y = new Float64Array(rows * cols);
  for (let r = 0; r < rows; r++)
    for (let n = 0; n < cols; n++) {
      let sum = b ? b.data[n]! : 0;
      for (let k = 0; k < depth; k++) sum += x.data[r * depth + k]! * w.data[n * depth + k]!;
      y[r * cols + n] = sum;
    }
  return { shape: [rows, cols], data: y };
}

function linearCase(name: string, rows: number, depth: number, cols: number, bias: boolean): OpCase {
  const inputs = { x: { shape: [rows, depth] }, w: { shape: [cols, depth] } };
  return {
    name,
    inputs: bias ? { ...inputs, b: { shape: [cols] } } : inputs,
    run: ({ x, w, b }) => linear(x!, w!, b),
    reference: ({ x, w, b }) => product(x!, w!, b),
  };
}

function swigluCase(name: string, rows: number, depth: number, cols: number): OpCase {
  return {
    name,
    inputs: { x: { shape: [rows, depth] }, w: { shape: [2 * cols, depth], scale: depth ** -0.5 } },
    run: ({ x, w }) => linearSwiglu(x!, w!),
    reference: ({ x, w }) => swigluOf(product(x!, w!)),
  };
}

/** y[r,h,n] = sum_k x[r,h,k] w[row(h,n)][k] */
function headsProduct(x: Values, w: Values, row: (h: number, n: number) => number): Values {
  const [rows, heads, depth] = x.shape as [number, number, number];
  const cols = w.data.length / heads / depth;
  const y = new Float64Array(rows * heads * cols);
  for (let r = 0; r < rows; r++)
    for (let h = 0; h < heads; h++)
      for (let n = 0; n < cols; n++)
        for (let k = 0; k < depth; k++)
          y[(r * heads + h) * cols + n]! += x.data[(r * heads + h) * depth + k]! * w.data[row(h, n) * depth + k]!;
  return { shape: [rows, heads, cols], data: y };
}

function headsCase(name: string, rows: number, heads: number, depth: number, cols: number): OpCase {
  return {
    name,
    inputs: { x: { shape: [rows, heads, depth] }, w: { shape: [heads, cols, depth] } },
    run: ({ x, w }) => headsLinear(inner(x!), w!),
    reference: ({ x, w }) => headsProduct(x!, w!, (h, n) => h * cols + n),
  };
}

export const cases: OpCase[] = [
  {
    ...swigluCase('linear_swiglu: partial tiles', 7, 19, 37),
    bad: [
      {
        what: 'a weight of an odd number of rows',
        call: () => linearSwiglu(from([1, 2], [1, 2]), from([1, 2, 3, 4, 5, 6], [3, 2])),
        says: /linear_swiglu: gate_up is \[1,3\], but 2\*C is 2/,
      },
    ],
  },
  swigluCase('linear_swiglu: whole panels', 20, 6, 64),
  swigluCase('linear_swiglu: one row', 1, 33, 50),
  {
    ...linearCase('linear: partial tiles', 7, 19, 37, true),
    bad: [
      {
        what: 'a weight of another width',
        call: () => linear(from([1, 2], [1, 2]), from([1, 2, 3], [1, 3])),
        says: /linear_forward: weight is \[1,3\], but K is 2 from x\[1,2\]/,
      },
      {
        what: 'a bias of another length',
        call: () => linear(from([1, 2], [1, 2]), from([1, 2], [1, 2]), from([1, 2], [2])),
        says: /bias is \[2\], but N is 1/,
      },
    ],
  },
  linearCase('linear: several row tiles and panels', 31, 4, 70, false),
  linearCase('linear: several blocks of the inner dimension', 5, 520, 2, true),
  linearCase('linear: one row', 1, 33, 100, true),
  {
    ...headsCase('heads_linear', 9, 3, 11, 18),
    bad: [
      {
        what: 'a weight that is neither [H,N,K] nor its transpose',
        call: () => headsLinear(from(new Float32Array(12), [2, 3, 2]), from(new Float32Array(60), [3, 4, 5])),
        says: /heads_linear: weight must be \[heads, outputs, inputs\]/,
      },
    ],
  },
  headsCase('heads_linear: several panels, one inner channel', 34, 2, 1, 70),
  {
    ...headsCase('heads_linear: matrices beside each other, an f32 result', 7, 4, 6, 5),
    // [N,H,K], as a projection of N rows to H heads leaves it
    inputs: { x: { shape: [7, 4, 6] }, w: { shape: [5, 4, 6] } },
    run: ({ x, w }) => headsLinear(inner(x!), exchanged(inner(w!)), 'f32'),
    reference: ({ x, w }) => headsProduct(x!, w!, (h, n) => n * 4 + h),
  },
];
