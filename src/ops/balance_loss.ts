import * as native from '../native.gen.js';
import { empty, grad, recordRoot, type Tensor } from '../tensor/index.js';

/** Coefficients and groups of the balance losses. */
export interface BalanceOptions {
  /** Divide each token's scores by their sum first (V3's sigmoid scores). */
  readonly rescale: boolean;
  /** Count the top K of the raw scores instead of the experts that were chosen (V3, equation 18). */
  readonly ownTop: boolean;
  /** alpha of the expert loss (V2 alpha 1, V3 alpha). */
  readonly expert: number;
  /** Consecutive groups of experts; 0: no device losses. */
  readonly devices: number;
  readonly topDevices: number;
  /** V2 alpha 2. */
  readonly device: number;
  /** V2 alpha 3. */
  readonly communication: number;
}

/**
 * Load-balance losses, each the mean over sequences of alpha * sum_i f_i P_i. scores [T,E] f32, experts [T,K] i32,
 * segments [Q+1] i32 -> [1] f32. The result is a root of the backward pass: its gradient is 1 already; put every factor
 * into the coefficients. DeepSeek-V2 section 2.2.3; V3 equations 17-20.
 */
export function balanceLoss(scores: Tensor, experts: Tensor, segments: Tensor, o: BalanceOptions): Tensor {
  const loss = empty([1], { device: scores.device });
  const dScores = empty(scores.shape, scores);
  native.balanceLoss(
    loss,
    { id: dScores.id, beta: 0 },
    scores,
    experts,
    segments,
    o.rescale,
    o.ownTop,
    o.expert,
    o.devices,
    o.topDevices,
    o.device,
    o.communication,
  );
  recordRoot('balance_loss', [scores], () => native.axpy(grad(scores), dScores, 1));
  return loss;
}
