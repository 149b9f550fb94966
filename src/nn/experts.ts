import { add } from '../ops/add.js';
import { balanceLoss } from '../ops/balance_loss.js';
import { groupedLinear, groupedLinearSwiglu } from '../ops/grouped_linear.js';
import { linear } from '../ops/linear.js';
import { combine, moePlan } from '../ops/moe.js';
import { router } from '../ops/router.js';
import { keep, type Tensor } from '../tensor/index.js';
import { feed, feedSpec } from './feed.js';
import { matrix, vector, type Weights } from './param.js';
import type { Run } from './run.js';

/** A routed feed-forward layer. DeepSeekMoE, arXiv:2401.06066; V2, arXiv:2405.04434; V3, arXiv:2412.19437 section 2.1.2. */
export interface ExpertsConfig {
  /** C, width of the stream. */
  readonly hidden: number;
  /** Width of one routed expert. */
  readonly inner: number;
  /** E, routed experts. */
  readonly experts: number;
  /** Experts per token. */
  readonly active: number;
  /** Shared experts, computed as one SwiGLU of shared*inner. */
  readonly shared: number;
  /** Consecutive groups of experts (devices in V2, nodes in V3). */
  readonly groups: number;
  /** Groups a token may reach. */
  readonly topGroups: number;
  /** V2 | V3. */
  readonly gate: 'softmax' | 'sigmoid';
  /** A group's score is the sum of this many of its best experts: 1 in V2, 2 in V3. */
  readonly groupBest: number;
  /** V3's auxiliary-loss-free balancing. */
  readonly correctionBias: boolean;
  /** Chosen weights sum to 1 before scaling. */
  readonly normalize: boolean;
  /** routed_scaling_factor */
  readonly scale: number;
  readonly balance: BalanceConfig;
}

/** Coefficients of the balance losses; 0 turns one off. */
export interface BalanceConfig {
  /** V2: 0.003, V2-Lite 0.001; V3: the sequence-wise loss, 1e-4. */
  readonly expert: number;
  /** V2: 0.05. */
  readonly device: number;
  /** V2: 0.02. */
  readonly communication: number;
}

/** Parameters of experts(), matrices drawn from N(0, deviation^2). */
export const expertsSpec = (c: ExpertsConfig, deviation: number) => ({
  router: matrix([c.experts, c.hidden], deviation, 'replicated', { f32: true }),
  bias: c.correctionBias ? vector(c.experts, 0, { buffer: true }) : undefined,
  gateUp: matrix([c.experts, 2 * c.inner, c.hidden], deviation, 'expert'),
  down: matrix([c.experts, c.hidden, c.inner], deviation, 'expert'),
  shared: c.shared > 0 ? feedSpec(c.hidden, c.shared * c.inner, deviation) : undefined,
});

/** Weights of experts(). */
export type ExpertsWeights = Weights<ReturnType<typeof expertsSpec>>;

/**
 * y = shared(x) + sum over the chosen experts e of weight_e * expert_e(x). Rows are sorted by expert once; the gather into
 * that order is fused into the products, and each token sums its own rows at the end, so nothing is scattered.
 * x [T,C] -> [T,C]
 */
export function experts(w: ExpertsWeights, c: ExpertsConfig, x: Tensor, layer: number, run: Run): Tensor {
  const logits = linear(x, w.router, undefined, 'f32'); // [T,E]
  const routed = router(logits, {
    active: c.active,
    groups: c.groups,
    topGroups: c.topGroups,
    groupBest: c.groupBest,
    sigmoid: c.gate === 'sigmoid',
    normalize: c.normalize,
    scale: c.scale,
    bias: w.bias,
    mask: run.layout.active,
    replay: run.replay?.(layer),
  });
  run.onRouting?.({ layer, experts: routed.experts, weights: routed.weights, counts: routed.counts });
  if (run.balance) addBalance(c, routed, run);
  const plan = moePlan(routed.experts, c.experts);
  const inner = groupedLinearSwiglu(x, w.gateUp, plan, true); // [T*K, inner], rows in expert order
  const out = groupedLinear(inner, w.down, plan, false); // [T*K, C]
  const y = combine(out, plan, routed.weights); // [T,C]
  return w.shared ? add(y, feed(w.shared, x)) : y;
}

function addBalance(c: ExpertsConfig, routed: { scores: Tensor; experts: Tensor }, run: Run): void {
  const { expert, device, communication } = c.balance;
  if (expert === 0 && device === 0 && communication === 0) return;
  const scale = run.auxScale ?? 1;
  run.losses.push(
    keep(
      balanceLoss(routed.scores, routed.experts, run.layout.segments!, {
        rescale: c.gate === 'sigmoid',
        ownTop: c.gate === 'sigmoid',
        expert: expert * scale,
        devices: device || communication ? c.groups : 0,
        topDevices: c.topGroups,
        device: device * scale,
        communication: communication * scale,
      }),
    ),
  );
}
