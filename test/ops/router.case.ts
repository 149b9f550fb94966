import { type RouterOptions, router } from '../../src/ops/router.js';
import { from, zeros } from '../../src/tensor/index.js';
import { type OpCase, randomValues, type Values } from './harness.js';
import { inner, valuesOf } from './reference.js';

type Settings = Omit<RouterOptions, 'bias' | 'mask' | 'replay'>;

const V2: Settings = { active: 3, groups: 4, topGroups: 2, groupBest: 1, sigmoid: false, normalize: false, scale: 1.5 };
const V3: Settings = { active: 4, groups: 4, topGroups: 2, groupBest: 2, sigmoid: true, normalize: true, scale: 2.5 };

function scoresOf(logits: Float64Array, sigmoid: boolean): number[] {
  if (sigmoid) return Array.from(logits, (z) => 1 / (1 + Math.exp(-z)));
  const total = logits.reduce((s, z) => s + Math.exp(z), 0);
  return Array.from(logits, (z) => Math.exp(z) / total);
}

/** Indices of the `count` largest values, best first, the smaller index of equal ones. */
const largest = (x: readonly number[], count: number): number[] =>
  [...x.keys()].sort((a, b) => x[b]! - x[a]! || a - b).slice(0, count);

const sum = (x: readonly number[]) => x.reduce((a, b) => a + b, 0);

function choose(scores: readonly number[], bias: Float64Array | undefined, o: Settings): number[] {
  const c = scores.map((s, e) => s + (bias?.[e] ?? 0));
  const size = c.length / o.groups;
  const group = Array.from({ length: o.groups }, (_, g) => {
    const own = c.slice(g * size, (g + 1) * size);
    return sum(largest(own, o.groupBest).map((i) => own[i]!));
  });
  const kept = new Set(largest(group, o.topGroups));
  return largest(
    c.map((v, e) => (kept.has(Math.floor(e / size)) ? v : -Infinity)),
    o.active,
  );
}

/** weights, experts, scores, counts: the definition. */
function routed(x: Record<string, Values>, o: Settings): Values[] {
  const { logits, bias, mask, replay } = x;
  const [tokens, count] = logits!.shape as [number, number];
  const weights = new Float64Array(tokens * o.active);
  const experts = new Float64Array(tokens * o.active).fill(-1);
  const scores = new Float64Array(tokens * count);
  const counts = new Float64Array(count);
  for (let t = 0; t < tokens; t++) {
    const s = scoresOf(logits!.data.subarray(t * count, (t + 1) * count), o.sigmoid);
    scores.set(s, t * count);
    if (mask && mask.data[t] === 0) continue;
    const told = replay && Array.from(replay.data.subarray(t * o.active, (t + 1) * o.active));
    if (told && told[0]! < 0) continue;
    const chosen = told ?? choose(s, bias?.data, o);
    const total = o.normalize ? sum(chosen.map((e) => s[e]!)) : 1;
    chosen.forEach((e, k) => {
      weights[t * o.active + k] = (o.scale * s[e]!) / total;
      experts[t * o.active + k] = e;
      counts[e]!++;
    });
  }
  const perChoice = [tokens, o.active];
  return [
    { shape: perChoice, data: weights },
    { shape: perChoice, data: experts },
    { shape: [tokens, count], data: scores },
    { shape: [count], data: counts },
  ];
}

function routerCase(name: string, o: Settings, inputs: OpCase['inputs']): OpCase {
  return {
    name,
    inputs,
    run: ({ logits, bias, mask, replay }) => {
      const r = router(inner(logits!), {
        ...o,
        ...(bias && { bias }),
        ...(mask && { mask }),
        ...(replay && { replay }),
      });
      return [r.weights, r.experts, r.scores, r.counts];
    },
    reference: (x) => routed(x, o),
    dtypes: ['f32'],
  };
}

const bias = { shape: [16], scale: 0.3, grad: false };
const plain =
  (o: Partial<Settings>, experts = 16) =>
  () =>
    router(zeros([1, experts]), { ...V3, ...o });
const replayOf =
  (...ids: number[]) =>
  () =>
    router(zeros([1, 16]), { ...V3, replay: from(Int32Array.from(ids), [1, 4]) });

export const cases: OpCase[] = [
  {
    ...routerCase('router: V2, softmax and the best of each group', V2, { logits: { shape: [70, 16] } }),
    bad: [
      {
        what: 'groups that do not divide the experts',
        call: plain({ groups: 3 }),
        says: /16 experts do not fall into 3/,
      },
      { what: 'more groups kept than there are', call: plain({ topGroups: 5 }), says: /5 of 4 groups cannot be kept/ },
      { what: 'more experts than the kept groups hold', call: plain({ active: 9 }), says: /9 experts per token/ },
      {
        what: 'a replayed expert that does not exist',
        call: replayOf(0, 1, 2, 16),
        says: /replay names expert 16 of 16/,
      },
      { what: 'a token that is replayed in part', call: replayOf(0, -1, 2, 3), says: /replay/ },
    ],
  },
  routerCase('router: V3, sigmoid with a bias that only chooses', V3, { logits: { shape: [70, 16] }, bias }),
  routerCase(
    'router: one group, as in V2-Lite',
    { ...V2, groups: 1, topGroups: 1, active: 6 },
    { logits: { shape: [9, 23] } },
  ),
  routerCase('router: tokens that are not routed', V3, {
    logits: { shape: [6, 16] },
    bias,
    mask: { shape: [6], ints: Int32Array.of(1, 0, 1, 1, 0, 1) },
  }),
  routerCase('router: experts replayed', V3, {
    logits: { shape: [3, 16] },
    bias,
    replay: { shape: [3, 4], ints: Int32Array.of(3, 2, 1, 0, -1, -1, -1, -1, 15, 0, 7, 8) },
  }),
  // Equal scores everywhere: the smaller index wins, among groups as among experts.
  routerCase('router: ties', V3, { logits: { shape: [2, 16], data: new Float64Array(32).fill(0.5), grad: false } }),
  // Ties inside the best groups only.
  routerCase(
    'router: rounded scores',
    { ...V3, groupBest: 4 },
    {
      logits: { shape: [40, 16], data: randomValues([40, 16], 5).map((v) => Math.round(v)), grad: false },
    },
  ),
  routerCase(
    'router: logits that overflow exp',
    { ...V2, normalize: true },
    {
      logits: { shape: [2, 16], data: valuesOf([2, 16], (i) => (i % 16) * 3 - 20).data, grad: false },
    },
  ),
];
