import * as native from '../native.gen.js';
import { type DType, empty, grad, record, type Tensor } from '../tensor/index.js';
import { hasAdapter, withAdapter } from './lora.js';
import { swiglu } from './swiglu.js';

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
 * swiglu(linear(x, weight)) in one op, with the same bits: what the product writes is not read again on the way forward.
 * x [.., K], weight [2C, K], the gate's rows first -> [.., C]. Shazeer, arXiv:2002.05202.
 */
export function linearSwiglu(x: Tensor, weight: Tensor): Tensor {
  if (hasAdapter(weight)) return swiglu(linear(x, weight));
  const [rows, width] = [x.shape.slice(0, -1), weight.shape[0]!];
  const gateUp = empty([...rows, width], x);
  const y = empty([...rows, width >> 1], x);
  native.linearSwiglu(y, gateUp, x, weight);
  return record('linear_swiglu', [x, weight], y, (dy) => {
    const dGateUp = empty(gateUp.shape, x);
    native.swigluBackward({ id: dGateUp.id, beta: 0 }, dy, gateUp);
    native.linearBackward(grad(x), grad(weight), grad(undefined), dGateUp, x, weight);
  });
}

/** One small matrix per head: y[t,h] = W[h] x[t,h]. x [T,H,K], weight [H,N,K] -> [T,H,N] in `dtype` (default: x's). */
export function headsLinear(x: Tensor, weight: Tensor, dtype: DType = x.dtype): Tensor {
  const y = empty([x.shape[0]!, x.shape[1]!, weight.shape[1]!], { dtype, device: x.device });
  native.headsLinear(y, x, weight, false);
  return record('heads_linear', [x, weight], y, (dy) =>
    native.headsLinearBackward(grad(x), grad(weight), dy, x, weight),
  );
}
