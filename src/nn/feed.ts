import { linear, linearSwiglu } from '../ops/linear.js';
import type { Tensor } from '../tensor/index.js';
import { matrix, type Weights } from './param.js';

/** A SwiGLU feed-forward layer: gate and up stacked in one matrix, gate rows first. Shazeer, arXiv:2002.05202. */
export const feedSpec = (hidden: number, inner: number, deviation: number) => ({
  gateUp: matrix([2 * inner, hidden], deviation, 'column'),
  down: matrix([hidden, inner], deviation, 'row'),
});

/** Weights of feed(). */
export type FeedWeights = Weights<ReturnType<typeof feedSpec>>;

/** down(silu(gate x) * up x). x [T,C] -> [T,C] */
export function feed(w: FeedWeights, x: Tensor): Tensor {
  return linear(linearSwiglu(x, w.gateUp), w.down);
}
