import { crossEntropy, linearLogProb } from '../../src/ops/cross_entropy.js';
import { from, type Tensor } from '../../src/tensor/index.js';
import type { OpCase, Values } from './harness.js';

const vector = (data: number[]): Values => ({ shape: [data.length], data: Float64Array.from(data) });

/** nll and entropy of rows of logits (already scaled). */
function losses(logits: number[][], targets: Values): { nll: Values; entropy: Values } {
  const entropy: number[] = [];
  const nll = logits.map((z, r) => {
    const top = Math.max(...z);
    const lse = top + Math.log(z.reduce((s, v) => s + Math.exp(v - top), 0));
    entropy.push(z.reduce((s, v) => (v === -Infinity ? s : s - Math.exp(v - lse) * (v - lse)), 0));
    const target = targets.data[r]!;
    return target < 0 ? 0 : lse - z[target]!;
  });
  return { nll: vector(nll), entropy: vector(entropy) };
}

function rowsOf(x: Values, scale: number): number[][] {
  const [rows, cols] = x.shape as [number, number];
  return Array.from({ length: rows }, (_, r) =>
    Array.from(x.data.subarray(r * cols, (r + 1) * cols), (v) => v * scale),
  );
}

function logitsOf(x: Values, w: Values, b: Values | undefined, scale: number): number[][] {
  const [rows, depth] = x.shape as [number, number];
  return Array.from({ length: rows }, (_, r) =>
    Array.from({ length: w.shape[0]! }, (_, v) => {
      let z = b ? b.data[v]! : 0;
      for (let k = 0; k < depth; k++) z += x.data[r * depth + k]! * w.data[v * depth + k]!;
      return scale * z;
    }),
  );
}

/**
 * In bf16 only the forward pass: the harness makes every input a leaf, whose gradient is f32, while the op wants the
 * gradient in the dtype of the logits. products.test.ts checks that one.
 */
function bothDtypes(opCase: OpCase): OpCase[] {
  const inputs = Object.entries(opCase.inputs).map(([name, input]) => [name, { ...input, grad: false }]);
  return [
    { ...opCase, dtypes: ['f32'] },
    { ...opCase, name: `${opCase.name}, values alone`, dtypes: ['bf16'], inputs: Object.fromEntries(inputs), bad: [] },
  ];
}

function crossEntropyCase(name: string, rows: number, size: number, spread: number, scale: number): OpCase {
  const targets = Int32Array.from({ length: rows }, (_, r) => (r % 3 === 1 ? -1 : (r * 7 + size - 1) % size));
  return {
    name,
    inputs: { logits: { shape: [rows, size], scale: spread }, targets: { shape: [rows], ints: targets } },
    run: ({ logits, targets }) => crossEntropy(logits!, targets!, scale),
    reference: ({ logits, targets }) => losses(rowsOf(logits!, scale), targets!).nll,
  };
}

const masked = Float64Array.from({ length: 2 * 19 }, (_, i) => (i % 5 === 0 ? -Infinity : Math.sin(i) * 3));
const head = {
  x: { shape: [7, 6] },
  w: { shape: [41, 6] },
  b: { shape: [41] },
  targets: { shape: [7], ints: Int32Array.of(0, 40, -1, 15, 16, 3, -100) },
};

export const cases: OpCase[] = [
  ...bothDtypes({
    ...crossEntropyCase('cross_entropy: part of a vector', 5, 37, 2, 0.7),
    bad: [
      {
        what: 'a target beyond the vocabulary',
        call: () => crossEntropy(from([1, 2], [1, 2]), from(Int32Array.of(2), [1])),
        says: /a target is not below the size of the vocabulary/,
      },
    ],
  }),
  ...bothDtypes(crossEntropyCase('cross_entropy: large logits', 4, 16, 300, 1)),
  ...bothDtypes(crossEntropyCase('cross_entropy: a row of more than one partial sum', 1, 2100, 1, 1)),
  {
    name: 'linear_cross_entropy: entropy, masked logits',
    inputs: {
      x: { shape: [2, 1], data: Float64Array.of(1, 1), grad: false },
      w: { shape: [19, 1], data: Float64Array.from({ length: 19 }, () => 0), grad: false },
      b: { shape: [19], data: masked.subarray(0, 19), grad: false },
      targets: { shape: [2], ints: Int32Array.of(3, -1) },
    },
    run: ({ x, w, b, targets }) => {
      const { nll, entropy } = linearLogProb(x!, w!, targets!, { bias: b, entropy: true } as { bias: Tensor });
      return [nll, entropy!];
    },
    reference: ({ x, w, b, targets }) => {
      const { nll, entropy } = losses(logitsOf(x!, w!, b, 1), targets!);
      return [nll, entropy];
    },
  },
  ...bothDtypes({
    name: 'linear_cross_entropy: log-probabilities with a temperature',
    inputs: head,
    run: ({ x, w, b, targets }) => linearLogProb(x!, w!, targets!, { bias: b!, scale: 0.6 }).nll,
    reference: ({ x, w, b, targets }) => losses(logitsOf(x!, w!, b, 0.6), targets!).nll,
  }),
];
