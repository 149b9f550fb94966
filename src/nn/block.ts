import { add } from '../ops/add.js';
import { checkpoint, named, recording, type Tensor } from '../tensor/index.js';
import { type NormWeights, norm } from './norm.js';
import type { Run } from './run.js';

/** Weights of a block: what its two norms and two layers need. */
export interface BlockWeights<A, F> {
  readonly attendNorm: NormWeights;
  readonly attend: A;
  readonly feedNorm: NormWeights;
  readonly feed: F;
}

/** A layer as a function of its weights: x [T,C] -> [T,C]. */
export type Layer<W> = (w: W, x: Tensor, index: number, run: Run) => Tensor;

/**
 * x += attend(norm(x)); x += feed(norm(x)). Pre-norm wiring, as GPT-2, Llama and DeepSeek use.
 */
export function block<A, F>(
  w: BlockWeights<A, F>,
  eps: number,
  attend: Layer<A>,
  feed: Layer<F>,
  x: Tensor,
  index: number,
  run: Run,
): Tensor {
  const attended = named('attend', () => add(x, attend(w.attend, norm(w.attendNorm, x, eps), index, run)));
  return named('feed', () => add(attended, feed(w.feed, norm(w.feedNorm, attended, eps), index, run)));
}

/**
 * x = norm(x + attend(x)); x = norm(x + feed(x)). Post-norm wiring, as the transformer began and BERT kept it.
 * Vaswani et al., arXiv:1706.03762, section 3.1.
 */
export function postNormBlock<A, F>(
  w: BlockWeights<A, F>,
  eps: number,
  attend: Layer<A>,
  feed: Layer<F>,
  x: Tensor,
  index: number,
  run: Run,
): Tensor {
  const attended = named('attend', () => norm(w.attendNorm, add(x, attend(w.attend, x, index, run)), eps));
  return named('feed', () => norm(w.feedNorm, add(attended, feed(w.feed, attended, index, run)), eps));
}

/** A block of that wiring, recomputed in the backward pass when the run asks for it. */
export function blockOrRecompute<A, F>(
  w: BlockWeights<A, F>,
  eps: number,
  attend: Layer<A>,
  feed: Layer<F>,
  x: Tensor,
  index: number,
  run: Run,
  wiring: typeof block = block,
): Tensor {
  if (!run.recompute || !recording()) return wiring(w, eps, attend, feed, x, index, run);
  let passes = 0;
  const [y] = checkpoint([x], (again) => {
    // The first pass reports routing and losses; the second, in the backward pass, only counts for gradients.
    if (passes++ === 0) return [wiring(w, eps, attend, feed, again, index, run)];
    const unread: Tensor[] = [];
    const result = wiring(w, eps, attend, feed, again, index, { ...run, onRouting: undefined, losses: unread });
    for (const loss of unread) loss.dispose();
    return [result];
  }) as [Tensor];
  return y;
}
