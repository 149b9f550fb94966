import { type Activation, activation } from '../ops/activation.js';
import { linear } from '../ops/linear.js';
import type { Tensor } from '../tensor/index.js';
import { matrix, vector, type Weights } from './param.js';

/**
 * A feed-forward layer of two products with biases, as the transformer began: arXiv:1706.03762. `out`: deviation of the second
 * matrix, where it is another.
 */
export const mlpSpec = (hidden: number, inner: number, deviation: number, out = deviation) => ({
  up: matrix([inner, hidden], deviation, 'column'),
  upBias: vector(inner, 0),
  down: matrix([hidden, inner], out, 'row'),
  downBias: vector(hidden, 0),
});

/** Weights of mlp(). */
export type MlpWeights = Weights<ReturnType<typeof mlpSpec>>;

/** down(f(up x + b)) + b. x [T,C] -> [T,C] */
export const mlp = (w: MlpWeights, f: Activation, x: Tensor): Tensor =>
  linear(activation(linear(x, w.up, w.upBias), f), w.down, w.downBias);
