/** Sizes of models that take milliseconds, shared by the tests that need a model and do not care which. */

/** Latent attention and four experts, in our own names; what is missing comes from a preset. */
export const tinyLatent = {
  kvRank: 8,
  nope: 8,
  ropeSize: 4,
  value: 8,
  inner: 32,
  expertInner: 8,
  experts: 4,
  active: 2,
} as const;

/** The same with two layers and a width of 16, the second layer with experts. */
export const tinyExperts = { hidden: 16, layers: 2, heads: 2, ...tinyLatent } as const;

/** A `config.json` without its vocabulary and context: two layers, dense or with latent attention and four experts. */
export function tinyHub(kind: 'dense' | 'experts'): Record<string, unknown> {
  const dense = {
    hidden_size: 16,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    intermediate_size: 32,
    rms_norm_eps: 1e-6,
    rope_theta: 10_000,
    initializer_range: 0.08,
  };
  if (kind === 'dense') return dense;
  return {
    ...dense,
    kv_lora_rank: 8,
    q_lora_rank: null,
    qk_nope_head_dim: 8,
    qk_rope_head_dim: 4,
    v_head_dim: 8,
    n_routed_experts: 4,
    n_shared_experts: 1,
    num_experts_per_tok: 2,
    moe_intermediate_size: 8,
    first_k_dense_replace: 1,
    n_group: 1,
    topk_group: 1,
    norm_topk_prob: true,
    routed_scaling_factor: 1,
  };
}
