import * as native from '../native.gen.js';
import { empty, grad, record, type Tensor } from '../tensor/index.js';

/** y = silu(gate) * up, where the last dimension holds gate and then up. [.., 2C] -> [.., C]. Shazeer, arXiv:2002.05202. */
export function swiglu(gateUp: Tensor): Tensor {
  const y = empty([...gateUp.shape.slice(0, -1), gateUp.shape.at(-1)! / 2], gateUp);
  native.swigluForward(y, gateUp);
  return record('swiglu', [gateUp], y, (dy) => native.swigluBackward(grad(gateUp), dy, gateUp));
}
