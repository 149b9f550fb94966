import * as native from '../native.gen.js';
import { empty, grad, record, type Tensor } from '../tensor/index.js';

/**
 * The order of routed rows: sorted by expert, tokens in order within one. M = T*K rows whatever the router chose, so
 * shapes are static; counts stay on the device.
 */
export interface MoePlan {
  /** [E+1] i32: expert e owns rows offsets[e] .. offsets[e+1]. */
  readonly offsets: Tensor;
  /** [M] i32: the token of each row. */
  readonly rows: Tensor;
  /** [T,K] i32: the row of each choice, -1 for none. */
  readonly inverse: Tensor;
}

/** experts [T,K] i32 (-1: not routed) -> the plan for `count` experts. */
export function moePlan(experts: Tensor, count: number): MoePlan {
  const on = { dtype: 'i32', device: experts.device } as const;
  const plan = { offsets: empty([count + 1], on), rows: empty([experts.size], on), inverse: empty(experts.shape, on) };
  native.moePlan(plan.offsets, plan.rows, plan.inverse, experts);
  return plan;
}

/**
 * Each token sums its rows: y[t] = sum_k weights[t,k] * x[inverse[t,k]]. x [M,C], weights [T,K] f32 (absent: 1) -> [T,C].
 */
export function combine(x: Tensor, { inverse }: MoePlan, weights?: Tensor): Tensor {
  const y = empty([inverse.shape[0]!, x.shape[1]!], x);
  native.combineForward(y, x, inverse, weights);
  return record('combine', [x, weights], y, (dy) =>
    native.combineBackward(grad(x), grad(weights), dy, x, inverse, weights),
  );
}
