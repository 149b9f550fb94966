import * as native from '../native.gen.js';
import { empty, grad, record, split, type Tensor } from '../tensor/index.js';

/** Joins tensors [.., C_i] along the last dimension to [.., sum C_i]. */
export function concat(parts: readonly Tensor[]): Tensor {
  const sizes = parts.map((p) => p.shape.at(-1)!);
  const y = empty([...parts[0]!.shape.slice(0, -1), sizes.reduce((a, b) => a + b, 0)], parts[0]!);
  split(y, sizes).forEach((window, i) => {
    native.copy(window, parts[i]!);
  });
  return record('concat', parts, y, (dy) => {
    split(dy, sizes).forEach((window, i) => {
      const part = parts[i]!;
      if (part.requiresGrad) native.axpy(grad(part), window, 1);
    });
  });
}
