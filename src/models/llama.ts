import { z } from 'zod';
import { TrainMoeError } from '../errors.js';
import { type AttendWeights, attend, attendSpec } from '../nn/attend.js';
import { type BlockWeights, blockOrRecompute, type DecoderWeights, decoder } from '../nn/decoder.js';
import { type FeedWeights, feed, feedSpec } from '../nn/feed.js';
import { countParameters, matrix, type Param, vector } from '../nn/param.js';
import { ropeTableFor } from '../nn/rope_table.js';
import { type Family, type HubPiece, rowsPiece, wholePiece } from './family.js';
import { ropeFromHub, ropeSchema, ropeToHub } from './rope_config.js';

/** DeepSeek LLM (V1) is a Llama: pre-norm, rotary positions, grouped keys, SwiGLU. arXiv:2401.02954; arXiv:2302.13971. */
export const llamaSchema = z.strictObject({
  vocabulary: z.int().positive(),
  hidden: z.int().positive(),
  layers: z.int().positive(),
  heads: z.int().positive(),
  keyHeads: z.int().positive().describe('divides heads'),
  headSize: z.int().positive(),
  inner: z.int().positive().describe('width of the feed-forward layer'),
  eps: z.number().positive(),
  rope: ropeSchema,
  tied: z.boolean().describe('the head is the embedding'),
  context: z.int().positive(),
  deviation: z.number().positive().describe('of the initial weights'),
});

export type LlamaConfig = z.infer<typeof llamaSchema>;
type LlamaBlock = BlockWeights<AttendWeights, FeedWeights>;
type LlamaWeights = DecoderWeights<LlamaBlock>;

const v1 = {
  vocabulary: 102_400,
  eps: 1e-6,
  rope: { theta: 10_000, yarn: null },
  tied: false,
  context: 4096,
  deviation: 0.006,
} as const;

export const llamaPresets = {
  'deepseek-llm-7b': { ...v1, hidden: 4096, layers: 30, heads: 32, keyHeads: 32, headSize: 128, inner: 11_008 },
  'deepseek-llm-67b': { ...v1, hidden: 8192, layers: 95, heads: 64, keyHeads: 8, headSize: 128, inner: 22_016 },
  'dense-nano': {
    ...v1,
    vocabulary: 4096,
    hidden: 256,
    layers: 6,
    heads: 4,
    keyHeads: 4,
    headSize: 64,
    inner: 704,
    context: 1024,
    deviation: 0.02,
  },
} satisfies Record<string, LlamaConfig>;

const attendConfig = (c: LlamaConfig) => ({
  hidden: c.hidden,
  heads: c.heads,
  keyHeads: c.keyHeads,
  headSize: c.headSize,
  scale: c.headSize ** -0.5,
});

const blockSpec = (c: LlamaConfig) => ({
  attendNorm: vector(c.hidden, 1),
  attend: attendSpec(attendConfig(c), c.deviation),
  feedNorm: vector(c.hidden, 1),
  feed: feedSpec(c.hidden, c.inner, c.deviation),
});

const specs = (c: LlamaConfig) => ({
  embed: matrix([c.vocabulary, c.hidden], c.deviation, 'vocabulary'),
  layers: Array.from({ length: c.layers }, () => blockSpec(c)),
  norm: vector(c.hidden, 1),
  head: c.tied ? undefined : matrix([c.vocabulary, c.hidden], c.deviation, 'vocabulary'),
});

export const llama: Family<LlamaConfig, LlamaWeights> = {
  name: 'llama',
  modelTypes: ['llama'],
  schema: llamaSchema,
  presets: llamaPresets,
  specs,
  forward(w, c, ids, run) {
    const table = ropeTableFor(c.rope, c.headSize, c.context, ids.device);
    const layer = (b: LlamaBlock, x: typeof ids, i: number) =>
      blockOrRecompute(
        b,
        c.eps,
        (a, h, index, r) => attend(a, attendConfig(c), h, table, index, r),
        (f, h) => feed(f, h),
        x,
        i,
        run,
      );
    return decoder(w, c.eps, layer, ids, run);
  },
  head: (w) => w.head ?? w.embed,
  cacheShape: (c) => ({ key: [c.keyHeads, c.headSize], value: [c.keyHeads, c.headSize] }),
  layers: (c) => c.layers,
  vocabulary: (c) => c.vocabulary,
  routedExperts: (c) => new Array<number>(c.layers).fill(0),
  activeParameters: (c) => countParameters(specs(c)) - (c.tied ? 0 : c.vocabulary * c.hidden),
  attentionWidth: (c) => c.layers * c.heads * 2 * c.headSize,
  fromHub,
  toHub,
  hubPieces,
};

type Json = Readonly<Record<string, unknown>>;

function fromHub(h: Json): LlamaConfig {
  if (h.attention_bias || h.mlp_bias)
    throw new TrainMoeError(
      'bad-config',
      'config.json asks for biases in attention or feed-forward layers, which this family does not have.',
    );
  if ((h.hidden_act ?? 'silu') !== 'silu')
    throw new TrainMoeError(
      'bad-config',
      `config.json asks for the activation "${h.hidden_act}"; Llama models use "silu".`,
    );
  const heads = Number(h.num_attention_heads);
  const hidden = Number(h.hidden_size);
  return {
    vocabulary: Number(h.vocab_size),
    hidden,
    layers: Number(h.num_hidden_layers),
    heads,
    keyHeads: Number(h.num_key_value_heads ?? heads),
    headSize: Number(h.head_dim ?? hidden / heads),
    inner: Number(h.intermediate_size),
    eps: Number(h.rms_norm_eps ?? 1e-6),
    rope: ropeFromHub(h),
    tied: Boolean(h.tie_word_embeddings),
    context: Number(h.max_position_embeddings ?? 2048),
    deviation: Number(h.initializer_range ?? 0.02),
  };
}

function toHub(c: LlamaConfig): Record<string, unknown> {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: c.vocabulary,
    hidden_size: c.hidden,
    intermediate_size: c.inner,
    num_hidden_layers: c.layers,
    num_attention_heads: c.heads,
    num_key_value_heads: c.keyHeads,
    head_dim: c.headSize,
    hidden_act: 'silu',
    rms_norm_eps: c.eps,
    max_position_embeddings: c.context,
    initializer_range: c.deviation,
    attention_bias: false,
    mlp_bias: false,
    tie_word_embeddings: c.tied,
    ...ropeToHub(c.rope),
  };
}

function hubPieces(c: LlamaConfig, path: string, p: Param): readonly HubPiece[] {
  if (path === 'embed') return wholePiece('model.embed_tokens.weight', p);
  if (path === 'norm') return wholePiece('model.norm.weight', p);
  if (path === 'head') return wholePiece('lm_head.weight', p);
  const [, layer, rest] = /^layers\.(\d+)\.(.+)$/.exec(path)!;
  const at = `model.layers.${layer}`;
  const q = c.heads * c.headSize;
  const kv = c.keyHeads * c.headSize;
  switch (rest) {
    case 'attend.qkv':
      return [
        rowsPiece(`${at}.self_attn.q_proj.weight`, p, 0, q),
        rowsPiece(`${at}.self_attn.k_proj.weight`, p, q, kv),
        rowsPiece(`${at}.self_attn.v_proj.weight`, p, q + kv, kv),
      ];
    case 'attend.out':
      return wholePiece(`${at}.self_attn.o_proj.weight`, p);
    case 'attendNorm':
      return wholePiece(`${at}.input_layernorm.weight`, p);
    case 'feedNorm':
      return wholePiece(`${at}.post_attention_layernorm.weight`, p);
    case 'feed.gateUp':
      return [
        rowsPiece(`${at}.mlp.gate_proj.weight`, p, 0, c.inner),
        rowsPiece(`${at}.mlp.up_proj.weight`, p, c.inner, c.inner),
      ];
    case 'feed.down':
      return wholePiece(`${at}.mlp.down_proj.weight`, p);
    default:
      throw new TrainMoeError('internal', `The Llama codec has no name for ${path}.`);
  }
}
