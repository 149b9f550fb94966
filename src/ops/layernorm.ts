import * as native from '../native.gen.js';
import { empty, grad, record, type Tensor } from '../tensor/index.js';

/**
 * y = (x - mean) / sqrt(variance + eps) * weight + bias, over the last dimension. x [.., C], weight [C], bias [C].
 * Ba et al., arXiv:1607.06450.
 */
export function layernorm(x: Tensor, weight: Tensor, bias: Tensor | undefined, eps = 1e-5): Tensor {
  const y = empty(x.shape, x); // [.., C]
  const perRow = () => empty(x.shape.slice(0, -1), { device: x.device }); // [..] f32
  const mean = perRow();
  const rstd = perRow();
  native.layernormForward(y, mean, rstd, x, weight, bias, eps);
  return record('layernorm', [x, weight, bias], y, (dy) =>
    native.layernormBackward(grad(x), grad(weight), grad(bias), dy, x, weight, mean, rstd),
  );
}
