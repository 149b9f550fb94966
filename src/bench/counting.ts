import type { JobShapes, ModelShape } from './shapes.js';

/**
 * How many operations a job's repetition is worth. The counts are conventions, the same for every program that is compared:
 * a product of [M,K] and [K,N] is 2MNK, a backward pass twice its forward one, whatever is recomputed.
 */

/** Causal attention, over half of the square: two products forward, five backward. */
export function attentionFlops(
  s: Pick<JobShapes['attention'], 'batch' | 'heads' | 'seq' | 'qk' | 'v'>,
  direction: 'forward' | 'backward',
): number {
  const pairs = s.batch * s.heads * s.seq ** 2;
  return pairs * (direction === 'forward' ? s.qk + s.v : 3 * s.qk + 2 * s.v);
}

/** Routed experts: gate, up and down, 2HI each a routed row; twice that backward. */
export function moeFlops(s: JobShapes['moe'], direction: 'forward' | 'backward'): number {
  return (direction === 'forward' ? 6 : 12) * s.hidden * s.inner * s.tokens * s.top_k;
}

/** A training step: 6 a token for each weight that it passes through (the head too, the embedding not), and attention. */
export function trainFlops(m: ModelShape, batch: number, seq: number): number {
  const n = (key: string): number => m[key] ?? 0;
  const { weights: attention, qk, v } = attentionWeights(n);
  const hidden = n('hidden_size');
  const active = n('num_experts_per_tok') + n('n_shared_experts');
  const moe = 3 * hidden * n('moe_intermediate_size') * active + hidden * n('n_routed_experts');
  const dense = n('first_k_dense_replace');
  const layers = n('num_hidden_layers');
  const weights =
    layers * attention +
    dense * 3 * hidden * n('intermediate_size') +
    (layers - dense) * moe +
    hidden * n('vocab_size');
  const square = { batch, heads: n('num_attention_heads'), seq, qk, v };
  const scores = layers * (attentionFlops(square, 'forward') + attentionFlops(square, 'backward'));
  return 6 * weights * batch * seq + scores;
}

/** Weights of one attention layer, latent or plain, and its head sizes. */
function attentionWeights(n: (key: string) => number): { weights: number; qk: number; v: number } {
  const hidden = n('hidden_size');
  const heads = n('num_attention_heads');
  const rank = n('kv_lora_rank');
  if (rank === 0) return { weights: 4 * hidden * heads * n('head_dim'), qk: n('head_dim'), v: n('head_dim') };
  const nope = n('qk_nope_head_dim');
  const rope = n('qk_rope_head_dim');
  const v = n('v_head_dim');
  const qk = nope + rope;
  const queryRank = n('q_lora_rank');
  const query = queryRank ? hidden * queryRank + queryRank * heads * qk : hidden * heads * qk;
  return { weights: query + hidden * (rank + rope) + rank * heads * (nope + v) + heads * v * hidden, qk, v };
}
