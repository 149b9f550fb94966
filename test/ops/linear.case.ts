import { headsLinear, linear, linearSwiglu } from '../../src/ops/linear.js';
import { from } from '../../src/tensor/index.js';
import type { OpCase, Values } from './harness.js';
import { swigluOf } from './reference.js';

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
    name: 'heads_linear',
    inputs: { x: { shape: [9, 3, 11], grad: false }, w: { shape: [3, 18, 11], grad: false } },
    run: ({ x, w }) => headsLinear(x!, w!),
    reference: ({ x, w }) => {
      const y = new Float64Array(9 * 3 * 18);
      for (let r = 0; r < 9; r++)
        for (let h = 0; h < 3; h++)
          for (let n = 0; n < 18; n++)
            for (let k = 0; k < 11; k++)
              y[(r * 3 + h) * 18 + n]! += x!.data[(r * 3 + h) * 11 + k]! * w!.data[(h * 18 + n) * 11 + k]!;
      return { shape: [9, 3, 18], data: y };
    },
    bad: [
      {
        what: 'a weight that is neither [H,N,K] nor its transpose',
        call: () => headsLinear(from(new Float32Array(12), [2, 3, 2]), from(new Float32Array(60), [3, 4, 5])),
        says: /heads_linear: weight must be \[heads, outputs, inputs\]/,
      },
    ],
  },
];
