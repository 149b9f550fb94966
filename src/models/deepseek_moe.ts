import { z } from 'zod';
import { type AttendWeights, attend, attendSpec } from '../nn/attend.js';
import { type BlockWeights, blockOrRecompute } from '../nn/block.js';
import { type DecoderWeights, decoder } from '../nn/decoder.js';
import { type ExpertsConfig, type ExpertsWeights, experts, expertsSpec } from '../nn/experts.js';
import { type FeedWeights, feed, feedSpec } from '../nn/feed.js';
import { countParameters, type Param, vector } from '../nn/param.js';
import { ropeTableFor } from '../nn/rope_table.js';
import type { Tensor } from '../tensor/index.js';
import { decoderPieces, decoderSpec } from './decoder.js';
import { refuseUnsupported } from './deepseek.js';
import type { Family, HubPiece } from './family.js';
import { feedPieces } from './feed_pieces.js';
import {
  attendConfig,
  attendPieces,
  attentionWidth,
  cacheShape,
  headsFromHub,
  headsToHub,
} from './grouped_attention.js';
import { ropeFromHub, ropeSchema, ropeToHub } from './rope_config.js';

/** DeepSeekMoE, arXiv:2401.06066: plain attention, fine-grained experts behind a softmax gate, shared experts. */
export const deepseekMoeSchema = z.strictObject({
  vocabulary: z.int().positive(),
  hidden: z.int().positive(),
  layers: z.int().positive(),
  heads: z.int().positive(),
  keyHeads: z.int().positive(),
  headSize: z.int().positive(),
  inner: z.int().positive().describe('width of the dense feed-forward layers'),
  expertInner: z.int().positive(),
  experts: z.int().positive(),
  active: z.int().positive(),
  shared: z.int().nonnegative(),
  denseLayers: z.int().nonnegative(),
  normalize: z.boolean(),
  expertBalance: z.number().nonnegative(),
  eps: z.number().positive(),
  rope: ropeSchema,
  tied: z.boolean(),
  context: z.int().positive(),
  deviation: z.number().positive(),
});

/** What a DeepSeekMoE model is made of. */
export type DeepseekMoeConfig = z.infer<typeof deepseekMoeSchema>;
type Block = BlockWeights<AttendWeights, FeedWeights | ExpertsWeights>;
type Weights = DecoderWeights<Block>;

const published = {
  headSize: 128,
  normalize: false,
  eps: 1e-6,
  rope: { theta: 10_000, yarn: null },
  tied: false,
  deviation: 0.006,
};

export const deepseekMoePresets = {
  'deepseek-moe-16b': {
    ...published,
    vocabulary: 102_400,
    hidden: 2048,
    layers: 28,
    heads: 16,
    keyHeads: 16,
    inner: 10_944,
    expertInner: 1408,
    experts: 64,
    active: 6,
    shared: 2,
    denseLayers: 1,
    expertBalance: 0.001,
    context: 4096,
  },
  /** The paper's validation model; it gives no inner width, and a quarter of 3456 yields its 2.0B parameters. */
  'deepseek-moe-2b': {
    ...published,
    vocabulary: 8192,
    hidden: 1280,
    layers: 9,
    heads: 10,
    keyHeads: 10,
    inner: 3456,
    expertInner: 864,
    experts: 63,
    active: 7,
    shared: 1,
    denseLayers: 0,
    expertBalance: 0.01,
    context: 2048,
  },
} satisfies Record<string, DeepseekMoeConfig>;

const expertsConfig = (c: DeepseekMoeConfig): ExpertsConfig => ({
  hidden: c.hidden,
  inner: c.expertInner,
  experts: c.experts,
  active: c.active,
  shared: c.shared,
  groups: 1,
  topGroups: 1,
  gate: 'softmax',
  groupBest: 1,
  correctionBias: false,
  normalize: c.normalize,
  scale: 1,
  balance: { expert: c.expertBalance, device: 0, communication: 0 },
});

const blockSpec = (c: DeepseekMoeConfig, dense: boolean) => ({
  attendNorm: vector(c.hidden, 1),
  attend: attendSpec(attendConfig(c), c.deviation),
  feedNorm: vector(c.hidden, 1),
  feed: dense ? feedSpec(c.hidden, c.inner, c.deviation) : expertsSpec(expertsConfig(c), c.deviation),
});

const specs = (c: DeepseekMoeConfig) =>
  decoderSpec(
    c,
    Array.from({ length: c.layers }, (_, i) => blockSpec(c, i < c.denseLayers)),
  );

/** Attention by heads, and experts. DeepSeekMoE, arXiv:2401.06066. */
export const deepseekMoe: Family<DeepseekMoeConfig, Weights> = {
  name: 'deepseek-moe',
  modelTypes: ['deepseek'],
  schema: deepseekMoeSchema,
  presets: deepseekMoePresets,
  specs,
  forward(w, c, ids, run) {
    const table = ropeTableFor(c.rope, c.headSize, c.context, ids.device);
    const layer = (b: Block, x: Tensor, i: number) =>
      blockOrRecompute(
        b,
        c.eps,
        (a, h, index, r) => attend(a, attendConfig(c), h, table, index, r),
        (f, h, index, r) => ('router' in f ? experts(f, expertsConfig(c), h, index, r) : feed(f, h)),
        x,
        i,
        run,
      );
    return decoder(w, c.eps, layer, ids, run);
  },
  head: (w) => ({ weight: w.head ?? w.embed }),
  cacheShape,
  layers: (c) => c.layers,
  vocabulary: (c) => c.vocabulary,
  routedExperts: (c) => Array.from({ length: c.layers }, (_, i) => (i < c.denseLayers ? 0 : c.experts)),
  activeParameters(c) {
    const idle = (c.experts - c.active) * 3 * c.hidden * c.expertInner;
    const routed = countParameters(blockSpec(c, false)) - idle;
    return (
      c.denseLayers * countParameters(blockSpec(c, true)) +
      (c.layers - c.denseLayers) * routed +
      c.vocabulary * c.hidden
    );
  },
  attentionWidth,
  fromHub,
  toHub,
  hubPieces,
};

type Json = Readonly<Record<string, unknown>>;

function fromHub(h: Json): DeepseekMoeConfig {
  refuseUnsupported(h);
  const number = (key: string, otherwise?: number) => Number(h[key] ?? otherwise);
  return {
    ...headsFromHub(h),
    vocabulary: number('vocab_size'),
    layers: number('num_hidden_layers'),
    inner: number('intermediate_size'),
    expertInner: number('moe_intermediate_size'),
    experts: number('n_routed_experts'),
    active: number('num_experts_per_tok'),
    shared: number('n_shared_experts', 0),
    denseLayers: number('first_k_dense_replace', 0),
    normalize: Boolean(h.norm_topk_prob),
    expertBalance: number('aux_loss_alpha', 0.001),
    eps: number('rms_norm_eps', 1e-6),
    rope: ropeFromHub(h),
    tied: Boolean(h.tie_word_embeddings),
    context: number('max_position_embeddings', 4096),
    deviation: number('initializer_range', 0.02),
  };
}

function toHub(c: DeepseekMoeConfig): Record<string, unknown> {
  return {
    architectures: ['DeepseekForCausalLM'],
    model_type: 'deepseek',
    ...headsToHub(c),
    vocab_size: c.vocabulary,
    intermediate_size: c.inner,
    moe_intermediate_size: c.expertInner,
    num_hidden_layers: c.layers,
    n_shared_experts: c.shared || null,
    n_routed_experts: c.experts,
    num_experts_per_tok: c.active,
    moe_layer_freq: 1,
    first_k_dense_replace: c.denseLayers,
    norm_topk_prob: c.normalize,
    scoring_func: 'softmax',
    aux_loss_alpha: c.expertBalance,
    seq_aux: true,
    hidden_act: 'silu',
    max_position_embeddings: c.context,
    initializer_range: c.deviation,
    rms_norm_eps: c.eps,
    attention_bias: false,
    tie_word_embeddings: c.tied,
    ...ropeToHub(c.rope),
  };
}

function hubPieces(c: DeepseekMoeConfig, path: string, p: Param): readonly HubPiece[] {
  return decoderPieces(path, p, (at, rest) => {
    const [part, ...inside] = rest.split('.');
    return part === 'attend' ? attendPieces(c, at, inside[0]!, p) : feedPieces(c, at, inside.join('.'), p);
  });
}
