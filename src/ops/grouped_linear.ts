import * as native from '../native.gen.js';
import { empty, grad, record, type Tensor } from '../tensor/index.js';
import { withAdapter } from './lora.js';
import type { MoePlan } from './moe.js';

/**
 * One product per expert over its rows: y[m] = W[e] x[source(m)] for the expert e that owns row m. With `gather` x holds
 * tokens [T,K] and source(m) is the row's token; without, x holds rows in expert order [M,K]. weight [E,N,K] -> [M,N].
 */
export function groupedLinear(x: Tensor, weight: Tensor, plan: MoePlan, gather: boolean): Tensor {
  const { offsets, rows, inverse } = plan;
  const source = gather ? rows : undefined;
  const count = rows.size;
  const y = empty([count, weight.shape[1]!], x);
  native.groupedLinearForward(y, x, weight, offsets, source);
  record('grouped_linear', [x, weight], y, (dy) => {
    if (!gather) return native.groupedLinearBackward(grad(x), grad(weight), dy, x, weight, offsets, source);
    const dRows = empty([count, x.shape[1]!], x); // the gradient of each routed copy of a token
    const wanted = x.requiresGrad ? ({ id: dRows.id, beta: 0 } as const) : ({ id: 0, beta: 0 } as const);
    native.groupedLinearBackward(wanted, grad(weight), dy, x, weight, offsets, source);
    if (!x.requiresGrad) return;
    const dx = empty(x.shape, x);
    native.combineForward(dx, dRows, inverse, undefined);
    native.axpy(grad(x), dx, 1);
  });
  return withAdapter(
    y,
    x,
    weight,
    (rows, a) => groupedLinear(rows, a, plan, gather),
    (h, b) => groupedLinear(h, b, plan, false),
  );
}
