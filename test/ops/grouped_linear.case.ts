import * as native from '../../src/native.gen.js';
import { groupedLinear, groupedLinearSwiglu } from '../../src/ops/grouped_linear.js';
import { empty, from } from '../../src/tensor/index.js';
import type { OpCase, Values } from './harness.js';
import { swigluOf } from './reference.js';

/** Tokens' choices (-1: none) sorted by expert, as moe_plan does it, in plain TypeScript. */
function planOf(choices: readonly (readonly number[])[], experts: number) {
  const offsets = new Int32Array(experts + 1);
  const rows = new Int32Array(choices.length * choices[0]!.length).fill(-5); // the rest belongs to nobody
  const inverse = new Int32Array(rows.length).fill(-1);
  let next = 0;
  for (let e = 0; e < experts; e++) {
    choices.forEach((chosen, token) => {
      chosen.forEach((choice, k) => {
        if (choice !== e) return;
        inverse[token * chosen.length + k] = next;
        rows[next++] = token;
      });
    });
    offsets[e + 1] = next;
  }
  return { offsets, rows, inverse, total: rows.length, used: next };
}

function groupedCase(
  name: string,
  choices: readonly (readonly number[])[],
  experts: number,
  depth: number,
  cols: number,
  gather: boolean,
): OpCase {
  const plan = planOf(choices, experts);
  const tokens = gather ? choices.length : plan.total;
  return {
    name,
    inputs: {
      x: { shape: [tokens, depth] },
      weight: { shape: [experts, cols, depth] },
      offsets: { shape: [experts + 1], ints: plan.offsets },
      rows: { shape: [plan.total], ints: plan.rows },
      inverse: { shape: [choices.length, choices[0]!.length], ints: plan.inverse },
    },
    run: ({ x, weight, offsets, rows, inverse }) =>
      groupedLinear(x!, weight!, { offsets: offsets!, rows: rows!, inverse: inverse! }, gather),
    reference: ({ x, weight }) => {
      const y = new Float64Array(plan.total * cols);
      for (let e = 0; e < experts; e++)
        for (let m = plan.offsets[e]!; m < plan.offsets[e + 1]!; m++)
          for (let n = 0; n < cols; n++)
            for (let k = 0; k < depth; k++)
              y[m * cols + n]! +=
                x!.data[(gather ? plan.rows[m]! : m) * depth + k]! * weight!.data[(e * cols + n) * depth + k]!;
      return { shape: [plan.total, cols], data: y };
    },
  };
}

/** The same with SwiGLU: `cols` of gate and of up. */
function gatedCase(...[name, choices, experts, depth, cols, gather]: Parameters<typeof groupedCase>): OpCase {
  const plain = groupedCase(name, choices, experts, depth, 2 * cols, gather);
  const { weight } = plain.inputs;
  return {
    ...plain,
    inputs: { ...plain.inputs, weight: { ...weight!, scale: depth ** -0.5 } },
    run: ({ x, weight, offsets, rows, inverse }) =>
      groupedLinearSwiglu(x!, weight!, { offsets: offsets!, rows: rows!, inverse: inverse! }, gather),
    reference: (values) => swigluOf(plain.reference(values) as Values),
  };
}

const two = [
  [0, 3],
  [3, 1],
  [0, -1],
  [3, 0],
  [3, -1],
  [1, 3],
  [3, 0],
];

export const cases: OpCase[] = [
  {
    ...groupedCase('grouped_linear: gathered tokens, an idle expert, rows of nobody', two, 5, 13, 18, true),
    bad: [
      {
        what: 'offsets beyond the rows',
        call: () => call([0, 4], [0, 1]),
        says: /offsets must rise/,
      },
      { what: 'offsets that fall', call: () => call([2, 1], [0, 1]), says: /offsets must rise/ },
      { what: 'a source row that is not there', call: () => call([0, 2], [0, 9]), says: /beyond the rows of x/ },
    ],
  },
  gatedCase('grouped_linear_swiglu: gathered tokens, an idle expert, rows of nobody', two, 5, 13, 18, true),
  gatedCase('grouped_linear_swiglu: rows in expert order', two, 4, 9, 32, false),
  groupedCase('grouped_linear: rows in expert order', two, 4, 9, 21, false),
  groupedCase('grouped_linear: nobody is routed', [[-1], [-1]], 3, 4, 5, false),
  groupedCase(
    'grouped_linear: one expert takes all',
    Array.from({ length: 40 }, () => [1]),
    2,
    3,
    17,
    true,
  ),
];

function call(offsets: number[], rows: number[]): void {
  const x = from([1, 2, 3], [3, 1]);
  const weight = from([1], [1, 1, 1]);
  native.groupedLinearForward(
    empty([2, 1]),
    x,
    weight,
    from(Int32Array.from(offsets), [2]),
    from(Int32Array.from(rows), [2]),
  );
}
