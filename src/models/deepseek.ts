import { z } from 'zod';
import { TrainMoeError } from '../errors.js';
import { attendLatent, type LatentConfig, type LatentWeights, latentSpec } from '../nn/attend_latent.js';
import { type BlockWeights, blockOrRecompute } from '../nn/block.js';
import { type BalanceConfig, type ExpertsConfig, type ExpertsWeights, experts, expertsSpec } from '../nn/experts.js';
import { type FeedWeights, feed, feedSpec } from '../nn/feed.js';
import { countParameters, type Param, vector } from '../nn/param.js';
import { attentionFactor } from '../nn/rope_table.js';
import type { Run } from '../nn/run.js';
import type { Tensor } from '../tensor/index.js';
import { type CacheForm, type CacheShape, type HubPiece, wholePiece } from './family.js';
import { feedPieces } from './feed_pieces.js';
import { ropeFromHub, ropeSchema, ropeToHub } from './rope_config.js';

/** What DeepSeek-V2 and V3 share: latent attention, then a dense feed-forward layer first and routed experts after. */
export const deepseekFields = {
  vocabulary: z.int().positive(),
  hidden: z.int().positive(),
  layers: z.int().positive(),
  heads: z.int().positive(),
  queryRank: z.int().positive().nullable().describe('null: queries are not compressed (V2-Lite)'),
  kvRank: z.int().positive(),
  nope: z.int().positive().describe('channels of a head without position'),
  ropeSize: z.int().positive().describe('rotary channels of a head'),
  value: z.int().positive().describe("channels of a head's value"),
  inner: z.int().positive().describe('width of the dense feed-forward layers'),
  expertInner: z.int().positive().describe('width of one expert'),
  experts: z.int().positive(),
  active: z.int().positive().describe('experts per token'),
  shared: z.int().nonnegative().describe('shared experts'),
  denseLayers: z.int().nonnegative().describe('first layers without experts'),
  groups: z.int().positive(),
  topGroups: z.int().positive(),
  normalize: z.boolean().describe('weights of the chosen experts sum to 1 before scaling'),
  routedScale: z.number().positive(),
  eps: z.number().positive(),
  rope: ropeSchema,
  tied: z.boolean(),
  context: z.int().positive(),
  deviation: z.number().positive(),
};

const shared = z.strictObject(deepseekFields);
export type DeepseekConfig = z.infer<typeof shared>;
/** Weights of a block with latent attention. */
export type DeepseekBlock = BlockWeights<LatentWeights, FeedWeights | ExpertsWeights>;

/** How the two generations route; everything else of a block is the same. */
export interface Gate {
  readonly gate: ExpertsConfig['gate'];
  readonly groupBest: number;
  readonly correctionBias: boolean;
  readonly balance: BalanceConfig;
}

export const latentConfig = (c: DeepseekConfig): LatentConfig => ({
  hidden: c.hidden,
  heads: c.heads,
  queryRank: c.queryRank,
  kvRank: c.kvRank,
  nope: c.nope,
  rope: c.ropeSize,
  value: c.value,
  scale: (c.nope + c.ropeSize) ** -0.5 * attentionFactor(c.rope) ** 2,
});

export const expertsConfig = (c: DeepseekConfig, gate: Gate): ExpertsConfig => ({
  hidden: c.hidden,
  inner: c.expertInner,
  experts: c.experts,
  active: c.active,
  shared: c.shared,
  groups: c.groups,
  topGroups: c.topGroups,
  normalize: c.normalize,
  scale: c.routedScale,
  ...gate,
});

export const blockSpec = (c: DeepseekConfig, gate: Gate, dense: boolean) => ({
  attendNorm: vector(c.hidden, 1),
  attend: latentSpec(latentConfig(c), c.deviation),
  feedNorm: vector(c.hidden, 1),
  feed: dense ? feedSpec(c.hidden, c.inner, c.deviation) : expertsSpec(expertsConfig(c, gate), c.deviation),
});

/** One block; its weights tell whether it is dense or routed. */
export function deepseekBlock(
  w: DeepseekBlock,
  c: DeepseekConfig,
  gate: Gate,
  table: Tensor,
  x: Tensor,
  index: number,
  run: Run,
): Tensor {
  return blockOrRecompute(
    w,
    c.eps,
    (a, h, i, r) => attendLatent(a, latentConfig(c), h, table, i, r),
    (f, h, i, r) => ('router' in f ? experts(f, expertsConfig(c, gate), h, i, r) : feed(f, h)),
    x,
    index,
    run,
  );
}

export const cacheShape = (c: DeepseekConfig, form: CacheForm): CacheShape =>
  form === 'latent' ? { key: [c.kvRank + c.ropeSize] } : { key: [c.heads, c.nope + c.value], shared: [c.ropeSize] };

/** Parameters of one token's path through `layers` blocks, the head included. */
export function activeParameters(c: DeepseekConfig, gate: Gate): number {
  const dense = countParameters(blockSpec(c, gate, true));
  const routed = countParameters(blockSpec(c, gate, false)) - (c.experts - c.active) * 3 * c.hidden * c.expertInner;
  return c.denseLayers * dense + (c.layers - c.denseLayers) * routed + c.vocabulary * c.hidden;
}

type Json = Readonly<Record<string, unknown>>;

/** @throws TrainMoeError `bad-config` for what config.json may say and no DeepSeek model has. */
export function refuseUnsupported(h: Json): void {
  if (h.attention_bias)
    throw new TrainMoeError(
      'bad-config',
      'config.json asks for biases in attention, which DeepSeek models do not have.',
    );
  if ((h.moe_layer_freq ?? 1) !== 1)
    throw new TrainMoeError('bad-config', `config.json has moe_layer_freq ${h.moe_layer_freq}; only 1 is supported.`);
}

/** The keys that both generations spell alike. */
export function sharedFromHub(h: Json): DeepseekConfig {
  refuseUnsupported(h);
  const number = (key: string, otherwise?: number) => Number(h[key] ?? otherwise);
  return {
    vocabulary: number('vocab_size'),
    hidden: number('hidden_size'),
    layers: number('num_hidden_layers'),
    heads: number('num_attention_heads'),
    queryRank: h.q_lora_rank == null ? null : number('q_lora_rank'),
    kvRank: number('kv_lora_rank'),
    nope: number('qk_nope_head_dim'),
    ropeSize: number('qk_rope_head_dim'),
    value: number('v_head_dim'),
    inner: number('intermediate_size'),
    expertInner: number('moe_intermediate_size'),
    experts: number('n_routed_experts'),
    active: number('num_experts_per_tok'),
    shared: number('n_shared_experts', 0),
    denseLayers: number('first_k_dense_replace', 0),
    groups: number('n_group', 1),
    topGroups: number('topk_group', 1),
    normalize: Boolean(h.norm_topk_prob),
    routedScale: number('routed_scaling_factor', 1),
    eps: number('rms_norm_eps', 1e-6),
    rope: ropeFromHub(h),
    tied: Boolean(h.tie_word_embeddings),
    context: number('max_position_embeddings', 4096),
    deviation: number('initializer_range', 0.02),
  };
}

export function sharedToHub(c: DeepseekConfig): Record<string, unknown> {
  return {
    vocab_size: c.vocabulary,
    hidden_size: c.hidden,
    intermediate_size: c.inner,
    moe_intermediate_size: c.expertInner,
    num_hidden_layers: c.layers,
    num_attention_heads: c.heads,
    num_key_value_heads: c.heads,
    n_shared_experts: c.shared || null,
    n_routed_experts: c.experts,
    routed_scaling_factor: c.routedScale,
    kv_lora_rank: c.kvRank,
    q_lora_rank: c.queryRank,
    qk_rope_head_dim: c.ropeSize,
    v_head_dim: c.value,
    qk_nope_head_dim: c.nope,
    n_group: c.groups,
    topk_group: c.topGroups,
    num_experts_per_tok: c.active,
    moe_layer_freq: 1,
    first_k_dense_replace: c.denseLayers,
    norm_topk_prob: c.normalize,
    hidden_act: 'silu',
    max_position_embeddings: c.context,
    initializer_range: c.deviation,
    rms_norm_eps: c.eps,
    attention_bias: false,
    attention_dropout: 0,
    tie_word_embeddings: c.tied,
    ...ropeToHub(c.rope),
  };
}

const ATTEND: Readonly<Record<string, string>> = {
  queryDown: 'q_a_proj',
  queryNorm: 'q_a_layernorm',
  kvDown: 'kv_a_proj_with_mqa',
  kvNorm: 'kv_a_layernorm',
  kvUp: 'kv_b_proj',
  out: 'o_proj',
};

/** Names on disk of a parameter of a block, whose path in it is `rest` and whose layer is called `at`. */
export function insideBlock(c: DeepseekConfig, at: string, rest: string, p: Param): readonly HubPiece[] {
  const [part, name] = rest.split('.') as [string, string];
  if (part === 'feed') return feedPieces(c, at, rest.slice('feed.'.length), p);
  const hub = name === 'query' ? (c.queryRank ? 'q_b_proj' : 'q_proj') : ATTEND[name]!;
  return wholePiece(`${at}.self_attn.${hub}.weight`, p);
}
