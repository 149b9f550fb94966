import * as native from '../../../src/native.gen.js';
import { added, type Call, fresh } from './bench.js';

/* What a mixture of experts does around its products: the choice, the plan of rows, their combination, the counts. */

/** The choice of experts by sigmoid and bias, within the best half of the groups. */
function routed(name: string, tokens: number, experts: number, active: number, groups: number): Call {
  return {
    name: `router: ${name}`,
    dtypes: ['f32'],
    run: (b) => {
      const [logits, bias] = [b.draw([tokens, experts], 1), b.draw([experts], 2, { scale: 0.1 })];
      const [weights, chosen] = [b.out([tokens, active]), b.out([tokens, active], 'i32')];
      const [scores, counts] = [b.out(logits.shape), b.out([experts], 'i32')];
      const kept = Math.max(1, groups / 2);
      native.routerForward(
        weights,
        chosen,
        scores,
        counts,
        logits,
        bias,
        undefined,
        undefined,
        groups,
        kept,
        2,
        true,
        true,
        2.5,
      );
      return [weights, chosen, scores, counts];
    },
  };
}

export const expertCalls: readonly Call[] = [
  routed('tokens of several blocks', 50, 40, 4, 4),
  routed('more experts than leave a block all its warps', 9, 1500, 3, 1),
  {
    name: 'moe_plan and embedding: sorted stably',
    run: (b) => {
      const [tokens, active, experts] = [300, 3, 7];
      const chosen = b.ints([tokens, active], (i) => (i % 23 === 5 ? -1 : (i * i + (i >> 3)) % experts));
      const [offsets, rows, inverse] = [
        b.out([experts + 1], 'i32'),
        b.out([900], 'i32'),
        b.out([tokens, active], 'i32'),
      ];
      native.moePlan(offsets, rows, inverse, chosen);
      const dtable = b.draw([70, 24], 1, { dtype: 'f32' });
      native.embeddingBackward(
        added(dtable),
        b.draw([tokens, 24], 2),
        b.ints([tokens], (i) => (i * 29 + (i >> 2)) % 70),
        0.5,
      );
      // Runs of one id that are longer than what is loaded at once.
      const few = b.draw([5, 24], 3, { dtype: 'f32' });
      const ids = b.ints([tokens], (i) => (i % 19 === 0 ? 2 : i < 40 ? 4 : (i >> 6) % 2));
      native.embeddingBackward(added(few), b.draw([tokens, 24], 4), ids, 0.25);
      return [offsets, rows, inverse, dtable, few];
    },
  },
  {
    name: 'moe_plan: more counts than are added up at once',
    dtypes: ['f32'],
    run: (b) => {
      const chosen = b.ints([700, 1], (i) => (i * 1171) % 4096);
      const [offsets, rows, inverse] = [b.out([4097], 'i32'), b.out([700], 'i32'), b.out([700, 1], 'i32')];
      native.moePlan(offsets, rows, inverse, chosen);
      return [offsets, rows, inverse];
    },
  },
  ...[536, 33].map(
    (width): Call => ({
      name: `combine: more choices than are loaded at once, ${width} channels`,
      run: (b) => {
        const [tokens, active, rows] = [13, 6, 90];
        const x = b.draw([rows, width], 1);
        const inverse = b.ints([tokens, active], (i) => (i % 11 === 3 ? -1 : (i * 17) % 89));
        const weights = b.draw([tokens, active], 2, { dtype: 'f32' });
        const [y, dy, dx] = [b.out([tokens, width]), b.draw([tokens, width], 3), b.out([rows, width])];
        const dweights = b.draw([tokens, active], 4, { dtype: 'f32' });
        native.combineForward(y, x, inverse, weights);
        native.combineBackward(fresh(dx), added(dweights), dy, x, inverse, weights);
        return [y, dx, dweights];
      },
    }),
  ),
  {
    name: 'add_counts and router_bias: layers beyond one launch',
    dtypes: ['f32'],
    tolerance: 1e-7,
    run: (b) => {
      const layers = Array.from({ length: 20 }, (_, i) => i);
      const experts = (i: number) => (i % 3 === 0 ? 130 : 8);
      const counts = (by: number) => layers.map((i) => b.ints([experts(i)], (e) => (e * by + i) % 11));
      const loads = counts(5);
      native.addCounts(loads, counts(7));
      const biases = layers.map((i) => b.draw([experts(i)], i));
      const scale = b.out([1], 'f32');
      native.fill(scale, 0.5);
      native.routerBias(biases, loads, scale, 0.25);
      return [...biases, ...loads];
    },
  },
];
