import * as native from '../native.gen.js';
import { from, grad, recordRoot, type Tensor } from '../tensor/index.js';

/** A loss with its derivative with respect to each number it was computed from. */
export interface HostLoss {
  readonly loss: number;
  readonly gradient: Float64Array; // [R]
}

/**
 * A loss of one number per row as an op: a root of the backward pass, computed on the host, where so little is no work.
 * `of` gets x[rows[r]] for each r; x is [T] or [T,1] f32. Rows that are not named get no gradient.
 */
export function hostLoss<V extends HostLoss>(
  name: string,
  x: Tensor,
  rows: Int32Array,
  of: (values: Float32Array) => V,
): V & { readonly root: Tensor } {
  const all = x.read();
  const value = of(Float32Array.from(rows, (row) => all[row]!));
  const dx = new Float32Array(x.size);
  rows.forEach((row, r) => {
    dx[row] = value.gradient[r]!;
  });
  const root = from(Float64Array.of(value.loss), [1], { device: x.device });
  const back = from(dx, x.shape, { device: x.device });
  recordRoot(name, [x], () => native.axpy(grad(x), back, 1));
  return { ...value, root };
}
