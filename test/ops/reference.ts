import * as native from '../../src/native.gen.js';
import { empty, grad, record, type Shape, type Tensor } from '../../src/tensor/index.js';
import type { Values } from './harness.js';

/**
 * A copy of x as a tensor in the middle of a graph: its gradient has its own dtype, while that of the leaf x is f32.
 * Ops whose contract wants the gradient in the dtype of the activation are tested through it.
 */
export function inner(x: Tensor): Tensor {
  const y = empty(x.shape, x);
  native.copy(y, x);
  return record('inner', [x], y, (dy) => native.axpy(grad(x), dy, 1));
}

/** Values of a shape from a function of the flat index. */
export function valuesOf(shape: Shape, f: (i: number) => number): Values {
  return { shape, data: Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => f(i)) };
}

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** silu(gate) * up, of rows that hold gate and then up. */
export function swigluOf(x: Values): Values {
  const width = x.shape[1]! / 2;
  return valuesOf([x.shape[0]!, width], (i) => {
    const at = Math.floor(i / width) * 2 * width + (i % width);
    const gate = x.data[at]!;
    return gate * sigmoid(gate) * x.data[at + width]!;
  });
}
