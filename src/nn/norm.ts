import { layernorm } from '../ops/layernorm.js';
import { rmsnorm } from '../ops/rmsnorm.js';
import type { Tensor } from '../tensor/index.js';
import { vector, type Weights } from './param.js';

/** Parameters of a LayerNorm over `size` channels: gains of 1 and biases of 0. Ba et al., arXiv:1607.06450. */
export const layerNormSpec = (size: number) => ({ gain: vector(size, 1), bias: vector(size, 0) });

/** The gains [C] of an RMSNorm, or gains and biases of a LayerNorm: what there is tells which norm it is. */
export type NormWeights = Tensor | Weights<ReturnType<typeof layerNormSpec>>;

/** x [T,C] -> [T,C], normalised over its channels. */
export const norm = (w: NormWeights, x: Tensor, eps: number): Tensor =>
  'gain' in w ? layernorm(x, w.gain, w.bias, eps) : rmsnorm(x, w, eps);
