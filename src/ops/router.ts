import * as native from '../native.gen.js';
import { empty, grad, record, type Tensor } from '../tensor/index.js';

/** How experts are chosen. */
export interface RouterOptions {
  /** K, experts per token. */
  readonly active: number;
  readonly groups: number;
  readonly topGroups: number;
  /** A group's score is the sum of this many of its best experts (V2: 1, V3: 2). */
  readonly groupBest: number;
  /** V3; else softmax, V2. */
  readonly sigmoid: boolean;
  readonly normalize: boolean;
  readonly scale: number;
  /** [E] f32, added for the choice only. */
  readonly bias?: Tensor;
  /** [T] i32, 0: not routed. */
  readonly mask?: Tensor;
  /** [T,K] i32, experts to use instead of choosing. */
  readonly replay?: Tensor;
}

/** What a router chose. */
export interface Routed {
  /** [T,K] f32 */
  readonly weights: Tensor;
  /** [T,K] i32, best first; -1 where masked. */
  readonly experts: Tensor;
  /** [T,E] f32 */
  readonly scores: Tensor;
  /** [E] i32 */
  readonly counts: Tensor;
}

/**
 * Scores experts, keeps the best groups, then the best experts in them. logits [T,E] f32. Gradients flow through the
 * weights and the scores, not through the choice. DeepSeek-V2 section 2.2; V3 section 2.1.2.
 */
export function router(logits: Tensor, o: RouterOptions): Routed {
  const [tokens, experts] = logits.shape as [number, number];
  const device = logits.device;
  const out: Routed = {
    weights: empty([tokens, o.active], { device }),
    experts: empty([tokens, o.active], { dtype: 'i32', device }),
    scores: empty([tokens, experts], { device }),
    counts: empty([experts], { dtype: 'i32', device }),
  };
  native.routerForward(
    out.weights,
    out.experts,
    out.scores,
    out.counts,
    logits,
    o.bias,
    o.mask,
    o.replay,
    o.groups,
    o.topGroups,
    o.groupBest,
    o.sigmoid,
    o.normalize,
    o.scale,
  );
  record('router', [logits], [out.weights, out.scores] as const, (dWeights, dScores) => {
    const dw = dWeights ?? zerosLike(out.weights);
    native.routerBackward(
      grad(logits),
      dw,
      dScores,
      out.weights,
      out.experts,
      out.scores,
      o.sigmoid,
      o.normalize,
      o.scale,
    );
  });
  return out;
}

function zerosLike(x: Tensor): Tensor {
  const zero = empty(x.shape, x);
  native.fill(zero, 0);
  return zero;
}
