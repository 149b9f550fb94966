import * as native from '../native.gen.js';
import { type DType, empty, grad, record, type Tensor } from '../tensor/index.js';
import { withAdapter } from './lora.js';

/** y = x W^T + b. x [.., K], weight [N, K], bias [N] -> [.., N] in `dtype` (default: x's). */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor, dtype: DType = x.dtype): Tensor {
  const y = empty([...x.shape.slice(0, -1), weight.shape[0]!], { dtype, device: x.device });
  native.linearForward(y, x, weight, bias);
  record('linear', [x, weight, bias], y, (dy) =>
    native.linearBackward(grad(x), grad(weight), grad(bias), dy, x, weight),
  );
  return withAdapter(y, x, weight, linear, (h, b) => linear(h, b, undefined, dtype));
}

/**
 * One small matrix per head, without gradient (decoding): y[t,h] = W[h] x[t,h]. x [T,H,K], weight [H,N,K] -> [T,H,N].
 */
export function headsLinear(x: Tensor, weight: Tensor): Tensor {
  const y = empty([x.shape[0]!, x.shape[1]!, weight.shape[1]!], x);
  native.headsLinear(y, x, weight, false);
  return y;
}
