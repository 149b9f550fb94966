import * as native from '../native.gen.js';
import type { Acc } from '../native.js';
import { empty, grad, record, type Tensor } from '../tensor/index.js';
import { hasAdapter, withAdapter } from './lora.js';
import type { MoePlan } from './moe.js';
import { swiglu } from './swiglu.js';

/**
 * One product per expert over its rows: y[m] = W[e] x[source(m)] for the expert e that owns row m. With `gather` x holds
 * tokens [T,K] and source(m) is the row's token; without, x holds rows in expert order [M,K]. weight [E,N,K] -> [M,N].
 */
export function groupedLinear(x: Tensor, weight: Tensor, plan: MoePlan, gather: boolean): Tensor {
  const y = empty([plan.rows.size, weight.shape[1]!], x);
  native.groupedLinearForward(y, x, weight, plan.offsets, gather ? plan.rows : undefined);
  record('grouped_linear', [x, weight], y, (dy) => goBack(dy, x, weight, plan, gather));
  return withAdapter(
    y,
    x,
    weight,
    (rows, a) => groupedLinear(rows, a, plan, gather),
    (h, b) => groupedLinear(h, b, plan, false),
  );
}

/** swiglu(groupedLinear(..)) in one op, with the same bits, as linearSwiglu(). weight [E,2C,K], the gate's rows first -> [M,C]. */
export function groupedLinearSwiglu(x: Tensor, weight: Tensor, plan: MoePlan, gather: boolean): Tensor {
  if (hasAdapter(weight)) return swiglu(groupedLinear(x, weight, plan, gather));
  const [count, width] = [plan.rows.size, weight.shape[1]!];
  const gateUp = empty([count, width], x);
  const y = empty([count, width >> 1], x);
  native.groupedLinearSwiglu(y, gateUp, x, weight, plan.offsets, gather ? plan.rows : undefined);
  return record('grouped_linear_swiglu', [x, weight], y, (dy) => {
    const dGateUp = empty(gateUp.shape, x);
    native.swigluBackward({ id: dGateUp.id, beta: 0 }, dy, gateUp);
    goBack(dGateUp, x, weight, plan, gather);
  });
}

/** Hands dy on to x and the weight. */
function goBack(dy: Tensor, x: Tensor, weight: Tensor, { offsets, rows, inverse }: MoePlan, gather: boolean): void {
  const source = gather ? rows : undefined;
  const back = (dx: Acc) => native.groupedLinearBackward(dx, grad(weight), dy, x, weight, offsets, source);
  if (!gather || !x.requiresGrad) {
    back(grad(x));
    return;
  }
  const copies = empty([rows.size, x.shape[1]!], x); // the gradient of each routed copy of a token
  back({ id: copies.id, beta: 0 });
  const dx = empty(x.shape, x);
  native.combineForward(dx, copies, inverse, undefined);
  native.axpy(grad(x), dx, 1);
}
