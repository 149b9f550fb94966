import { add } from '../ops/add.js';
import { embedding } from '../ops/embedding.js';
import { checkpoint, named, recording, scope, type Tensor } from '../tensor/index.js';
import { type NormWeights, norm } from './norm.js';
import type { Run } from './run.js';

/** Weights of a pre-norm block: what its two norms and two layers need. */
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

/** As block(), recomputed in the backward pass when the run asks for it. */
export function blockOrRecompute<A, F>(
  w: BlockWeights<A, F>,
  eps: number,
  attend: Layer<A>,
  feed: Layer<F>,
  x: Tensor,
  index: number,
  run: Run,
): Tensor {
  if (!run.recompute || !recording()) return block(w, eps, attend, feed, x, index, run);
  let passes = 0;
  const [y] = checkpoint([x], (again) => {
    // The first pass reports routing and losses; the second, in the backward pass, only counts for gradients.
    if (passes++ === 0) return [block(w, eps, attend, feed, again, index, run)];
    const unread: Tensor[] = [];
    const result = block(w, eps, attend, feed, again, index, { ...run, onRouting: undefined, losses: unread });
    for (const loss of unread) loss.dispose();
    return [result];
  }) as [Tensor];
  return y;
}

/** Weights of a decoder around its blocks. `head` absent: tied to the embedding. */
export interface DecoderWeights<B> {
  /** [V,C] */
  readonly embed: Tensor;
  readonly layers: readonly B[];
  /** Of [C] channels. */
  readonly norm: NormWeights;
  /** [V,C] */
  readonly head?: Tensor;
}

/**
 * ids [T] -> the stream after the final norm [T,C]; the head turns it into logits. `embed` makes the stream of ids, where that is
 * more than their rows of the table.
 */
export function decoder<B>(
  w: DecoderWeights<B>,
  eps: number,
  layer: Layer<B>,
  ids: Tensor,
  run: Run,
  embed = (tokens: Tensor) => embedding(w.embed, tokens),
): Tensor {
  let x = named('embed', () => embed(ids)); // [T,C]
  run.onHidden?.(0, x);
  w.layers.forEach((weights, i) => {
    const through = () => layer(weights, x, i, run);
    // Without a tape a layer's tensors die with it: the next layer finds their memory, still in the cache.
    x = named(`layer ${i}`, () => (recording() ? through() : scope(through)));
    if (i + 1 < w.layers.length) run.onHidden?.(i + 1, x);
  });
  x = named('norm', () => norm(w.norm, x, eps));
  run.onHidden?.(w.layers.length, x);
  return x;
}
