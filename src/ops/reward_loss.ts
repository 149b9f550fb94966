import type { Tensor } from '../tensor/index.js';
import { type HostLoss, hostLoss } from './host_loss.js';
import { logSigmoid, sigmoid } from './sigmoid.js';

export interface PairwiseOptions {
  /** [N] by how much the chosen side should win. Llama 2, arXiv:2307.09288, section 3.2.2. */
  readonly margin?: ArrayLike<number> | undefined;
  /** Weight of (s_chosen + s_rejected)^2, which keeps scores around 0. Eisenstein et al., arXiv:2312.09244, section 2. */
  readonly center?: number | undefined;
  /** Pairs of the whole update: what the sum is divided by, so that cutting it into parts changes nothing. */
  readonly total: number;
}

/**
 * How likely the scores make the choice of a person, after Bradley and Terry (Ouyang et al., arXiv:2203.02155, section 3.5):
 *
 *     loss = 1/total sum_i [ -log sigmoid(chosen_i - rejected_i - margin_i) + center (chosen_i + rejected_i)^2 ]
 *
 * scores [2N]: chosen and rejected in turn, and so is the gradient.
 */
export function pairwiseReward(scores: ArrayLike<number>, o: PairwiseOptions): HostLoss {
  const gradient = new Float64Array(scores.length);
  const { center = 0, total } = o;
  let loss = 0;
  for (let i = 0; i < scores.length; i += 2) {
    const [chosen, rejected] = [scores[i]!, scores[i + 1]!];
    const lead = chosen - rejected - (o.margin?.[i / 2] ?? 0);
    const pull = 2 * center * (chosen + rejected);
    loss += -logSigmoid(lead) + center * (chosen + rejected) ** 2;
    gradient[i] = (pull - sigmoid(-lead)) / total;
    gradient[i + 1] = (pull + sigmoid(-lead)) / total;
  }
  return { loss: loss / total, gradient };
}

/**
 * Binary cross-entropy of labels (1 good or safe, 0 not) under sigmoid(score), the pointwise loss of DeepSeek-R1's safety
 * reward (arXiv:2501.12948, section 3.1):
 *
 *     loss = 1/total sum_i [ -y_i log sigmoid(s_i) - (1 - y_i) log sigmoid(-s_i) ]
 */
export function pointwiseReward(scores: ArrayLike<number>, labels: ArrayLike<number>, total: number): HostLoss {
  const gradient = new Float64Array(scores.length);
  let loss = 0;
  for (let i = 0; i < scores.length; i++) {
    loss -= labels[i]! * logSigmoid(scores[i]!) + (1 - labels[i]!) * logSigmoid(-scores[i]!);
    gradient[i] = (sigmoid(scores[i]!) - labels[i]!) / total;
  }
  return { loss: loss / total, gradient };
}

/** A score with the row it was read from: what a reward loss is differentiated through. */
export type Scored = HostLoss & { readonly root: Tensor; readonly scores: Float32Array };

/** A loss on rows of `scores` [T,1] as an op; see hostLoss(). */
export function rewardLoss(scores: Tensor, rows: Int32Array, of: (scores: Float32Array) => HostLoss): Scored {
  return hostLoss('reward_loss', scores, rows, (values) => ({ ...of(values), scores: values }));
}
