import { embedding } from '../ops/embedding.js';
import { named, recording, scope, type Tensor } from '../tensor/index.js';
import type { Layer } from './block.js';
import { type NormWeights, norm } from './norm.js';
import type { Run } from './run.js';

/** Weights of a decoder around its blocks. `head` absent: tied to the embedding. `norm` absent: blocks end with theirs. */
export interface DecoderWeights<B> {
  /** [V,C] */
  readonly embed: Tensor;
  readonly layers: readonly B[];
  /** Of [C] channels. */
  readonly norm?: NormWeights;
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
  const { norm: last } = w;
  if (last) x = named('norm', () => norm(last, x, eps));
  run.onHidden?.(w.layers.length, x);
  return x;
}
