import { linear } from '../ops/linear.js';
import type { DType, Tensor } from '../tensor/index.js';
import { matrix, vector, type Weights } from './param.js';

/** One product with a bias: [outer, inner] drawn from N(0, deviation^2), and zeros. */
export const denseSpec = (outer: number, inner: number, deviation: number) => ({
  weight: matrix([outer, inner], deviation),
  bias: vector(outer, 0),
});

/** Weights of dense(). */
export type DenseWeights = Weights<ReturnType<typeof denseSpec>>;

/** x W^T + b. x [R,inner] -> [R,outer] in `dtype` (default: x's) */
export const dense = (w: DenseWeights, x: Tensor, dtype?: DType): Tensor => linear(x, w.weight, w.bias, dtype);
