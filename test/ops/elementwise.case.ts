import { add } from '../../src/ops/add.js';
import { cast } from '../../src/ops/cast.js';
import { concat } from '../../src/ops/concat.js';
import { multiply } from '../../src/ops/multiply.js';
import { scale } from '../../src/ops/scale.js';
import { from, split, type Tensor } from '../../src/tensor/index.js';
import type { OpCase, Values } from './harness.js';
import { inner, valuesOf } from './reference.js';

const both = (a: Values, b: Values, f: (a: number, b: number) => number) =>
  valuesOf(a.shape, (i) => f(a.data[i]!, b.data[i]!));

/** Columns from..to of x [R,C]. */
const columns = (x: Values, start: number, end: number) =>
  valuesOf([x.shape[0]!, end - start], (i) => {
    const width = end - start;
    return x.data[Math.floor(i / width) * x.shape[1]! + start + (i % width)]!;
  });

/** The parts of x [R,19] that lie apart in memory. */
const cut = (x: Tensor) => split(inner(x), [9, 9, 1]) as [Tensor, Tensor, Tensor];

export const cases: OpCase[] = [
  {
    name: 'add',
    inputs: { a: { shape: [3, 5, 7] }, b: { shape: [3, 5, 7] } },
    run: ({ a, b }) => add(inner(a!), inner(b!)),
    reference: ({ a, b }) => both(a!, b!, (p, q) => p + q),
    bad: [
      {
        what: 'shapes that differ',
        call: () => add(from([1, 2], [1, 2]), from([1, 2, 3], [1, 3])),
        says: /add: b is \[1,3\], but C is 2 from y\[1,2\]/,
      },
      {
        what: 'dtypes that differ',
        call: () => add(from([1, 2], [1, 2]), from(Float32Array.of(1, 2), [1, 2], { dtype: 'bf16' })),
        says: /b is bf16, but y is f32 and both must be the same/,
      },
    ],
  },
  {
    name: 'add: of a tensor to itself, longer than a task',
    inputs: { a: { shape: [3, 17000], grad: false } },
    run: ({ a }) => add(a!, a!),
    reference: ({ a }) => valuesOf(a!.shape, (i) => 2 * a!.data[i]!),
  },
  {
    name: 'add: windows',
    inputs: { x: { shape: [6, 19] } },
    run: ({ x }) => {
      const [a, b] = cut(x!);
      return add(a, b);
    },
    reference: ({ x }) => both(columns(x!, 0, 9), columns(x!, 9, 18), (p, q) => p + q),
  },
  {
    name: 'multiply',
    inputs: { a: { shape: [4, 11] }, b: { shape: [4, 11] } },
    run: ({ a, b }) => multiply(inner(a!), b!),
    reference: ({ a, b }) => both(a!, b!, (p, q) => p * q),
    bad: [
      {
        what: 'shapes that differ',
        call: () => multiply(from([1, 2], [1, 2]), from([1, 2, 3], [1, 3])),
        says: /multiply: b is \[1,3\], but C is 2/,
      },
    ],
  },
  {
    name: 'multiply: mixed dtypes, a value by itself',
    inputs: { a: { shape: [2, 21] }, b: { shape: [2, 21], f32: true } },
    run: ({ a, b }) => multiply(multiply(inner(b!), inner(a!)), inner(a!)),
    reference: ({ a, b }) => both(a!, b!, (p, q) => p * p * q),
  },
  {
    name: 'scale',
    inputs: { x: { shape: [3, 5, 7] } },
    run: ({ x }) => scale(inner(x!), -2.5),
    reference: ({ x }) => valuesOf(x!.shape, (i) => -2.5 * x!.data[i]!),
  },
  {
    name: 'scale: windows',
    inputs: { x: { shape: [6, 19] } },
    run: ({ x }) => scale(cut(x!)[1], 0.5),
    reference: ({ x }) => {
      const part = columns(x!, 9, 18);
      return valuesOf(part.shape, (i) => 0.5 * part.data[i]!);
    },
  },
  {
    name: 'concat: copies into windows',
    inputs: { a: { shape: [5, 3] }, b: { shape: [5, 10] } },
    run: ({ a, b }) => concat([inner(a!), inner(b!)]),
    reference: ({ a, b }) =>
      valuesOf([5, 13], (i) => {
        const row = Math.floor(i / 13);
        const col = i % 13;
        return col < 3 ? a!.data[row * 3 + col]! : b!.data[row * 10 + col - 3]!;
      }),
  },
  {
    name: 'cast: to bf16 and back',
    inputs: { x: { shape: [3, 10] } },
    run: ({ x }) => cast(cast(inner(x!), 'bf16'), 'f32'),
    reference: ({ x }) => x!,
    tolerance: { f32: 4e-3, gradient: 4e-3 },
  },
];
