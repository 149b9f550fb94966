import * as native from '../../src/native.gen.js';
import { combine, moePlan } from '../../src/ops/moe.js';
import { empty, from, zeros } from '../../src/tensor/index.js';
import type { OpCase, Values } from './harness.js';
import { inner, valuesOf } from './reference.js';

/** offsets, rows and inverse by their definition: a stable sort by expert. */
function planOf(experts: Values, count: number): { offsets: number[]; rows: number[]; inverse: number[] } {
  const chosen = [...experts.data.entries()].filter(([, e]) => e >= 0);
  const order = [...chosen].sort((a, b) => a[1] - b[1] || a[0] - b[0]);
  const inverse = new Array<number>(experts.data.length).fill(-1);
  const rows = new Array<number>(experts.data.length).fill(0);
  order.forEach(([i], m) => {
    inverse[i] = m;
    rows[m] = Math.floor(i / experts.shape[1]!);
  });
  const offsets = Array.from({ length: count + 1 }, (_, e) => chosen.filter(([, own]) => own < e).length);
  return { offsets, rows, inverse };
}

const vector = (data: number[]): Values => ({ shape: [data.length], data: Float64Array.from(data) });

function planCase(name: string, tokens: number, each: number, count: number, ints: Int32Array): OpCase {
  return {
    name,
    inputs: { experts: { shape: [tokens, each], ints } },
    run: ({ experts }) => {
      const { offsets, rows, inverse } = moePlan(experts!, count);
      return [offsets, rows, inverse];
    },
    reference: ({ experts }) => {
      const { offsets, rows, inverse } = planOf(experts!, count);
      return [vector(offsets), vector(rows), { shape: experts!.shape, data: Float64Array.from(inverse) }];
    },
    dtypes: ['f32'],
  };
}

/** Two experts of five per token, none for the third token. */
const CHOSEN = Int32Array.of(4, 1, 0, 1, -1, -1, 1, 0, 4, 0, 3, 1);

function combined(x: Values, experts: Values, count: number, w?: Values): Values {
  const { inverse } = planOf(experts, count);
  const [tokens, each] = experts.shape as [number, number];
  const width = x.shape[1]!;
  return valuesOf([tokens, width], (i) => {
    const t = Math.floor(i / width);
    let y = 0;
    for (let k = 0; k < each; k++) {
      const m = inverse[t * each + k]!;
      if (m >= 0) y += (w ? w.data[t * each + k]! : 1) * x.data[m * width + (i % width)]!;
    }
    return y;
  });
}

function combineCase(name: string, width: number, weighted: boolean): OpCase {
  return {
    name,
    inputs: {
      x: { shape: [12, width] },
      experts: { shape: [6, 2], ints: CHOSEN },
      ...(weighted && { w: { shape: [6, 2], f32: true } }),
    },
    run: ({ x, w, experts }) => combine(inner(x!), moePlan(experts!, 5), w),
    reference: ({ x, w, experts }) => combined(x!, experts!, 5, w),
  };
}

const combineBy =
  (...inverse: number[]) =>
  () =>
    native.combineForward(empty([1, 4]), zeros([2, 4]), from(Int32Array.from(inverse), [1, inverse.length]), undefined);

export const cases: OpCase[] = [
  {
    ...planCase('moe_plan: an expert without rows, a token without experts', 6, 2, 5, CHOSEN),
    bad: [
      {
        what: 'an expert that does not exist',
        call: () => moePlan(from(Int32Array.of(0, 5), [1, 2]), 5),
        says: /token 0 chose expert 5 of 5/,
      },
    ],
  },
  planCase(
    'moe_plan: many tokens',
    700,
    3,
    7,
    Int32Array.from({ length: 2100 }, (_, i) => (i * i + (i >> 3)) % 7),
  ),
  planCase('moe_plan: nobody is routed', 2, 2, 3, new Int32Array(4).fill(-1)),
  {
    ...combineCase('combine: weighted', 37, true),
    bad: [
      { what: 'a row that does not exist', call: combineBy(0, 2), says: /combine_forward: inverse\[1\] is 2/ },
      {
        what: 'weights of another shape',
        call: () => combine(zeros([4, 2]), moePlan(from(Int32Array.of(0, 1), [1, 2]), 2), zeros([1, 3])),
        says: /weights is \[1,3\], but K is 2/,
      },
    ],
  },
  combineCase('combine: plain sum', 70, false),
];
