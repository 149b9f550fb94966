import * as native from '../native.gen.js';
import { empty, grad, record, type Tensor } from '../tensor/index.js';
import { dropout } from './dropout.js';

/** A low-rank addition to a weight that stays as it is: W + scale * B A. Hu et al., arXiv:2106.09685. */
export interface Adapter {
  /** [r,K], or [E,r,K] for a stack of experts. */
  readonly a: Tensor;
  /** [N,r], or [E,N,r]; 0 at first, so that training starts from the model as it is. */
  readonly b: Tensor;
  /** alpha / r. */
  readonly scale: number;
  /** Share of the inputs' values that A does not see while `seed` is set. */
  readonly dropout: number;
  /** Set for the passes of a training step; the same for the recomputation of a pass. */
  seed: number | undefined;
}

const adapters = new WeakMap<Tensor, Adapter>();

/** From now on products with the weight include the adapter; undefined takes it off. */
export function setAdapter(weight: Tensor, adapter: Adapter | undefined): void {
  if (adapter) adapters.set(weight, adapter);
  else adapters.delete(weight);
}

/** Whether products with the weight include an adapter. */
export const hasAdapter = (weight: Tensor): boolean => adapters.has(weight);

/**
 * y + scale * up(down(dropout(x), A), B) where the weight has an adapter, else y. Called by the products themselves, so
 * that every model and trainer has adapters without knowing of them.
 */
export function withAdapter(
  y: Tensor,
  x: Tensor,
  weight: Tensor,
  down: (x: Tensor, a: Tensor) => Tensor,
  up: (h: Tensor, b: Tensor) => Tensor,
): Tensor {
  const adapter = adapters.get(weight);
  if (!adapter) return y;
  const { a, b, scale, seed } = adapter;
  const seen = seed === undefined ? x : dropout(x, adapter.dropout, seed);
  return addScaled(y, up(down(seen, a), b), scale);
}

/** y + scale * u. All of one shape and type. */
function addScaled(y: Tensor, u: Tensor, scale: number): Tensor {
  const sum = empty(y.shape, y);
  native.copy(sum, y);
  native.axpy({ id: sum.id, beta: 1 }, u, scale);
  return record('lora', [y, u], sum, (dy) => {
    if (y.requiresGrad) native.axpy(grad(y), dy, 1);
    if (u.requiresGrad) native.axpy(grad(u), dy, scale);
  });
}
