import { z } from 'zod';
import { TrainMoeError } from '../errors.js';
import { type AttendWeights, attend, attendSpec } from '../nn/attend.js';
import { type BlockWeights, blockOrRecompute } from '../nn/block.js';
import { type DecoderWeights, decoder } from '../nn/decoder.js';
import { type FeedWeights, feed, feedSpec } from '../nn/feed.js';
import { countParameters, type Param, vector } from '../nn/param.js';
import { ropeTableFor } from '../nn/rope_table.js';
import { decoderPieces, decoderSpec } from './decoder.js';
import type { Family, HubPiece } from './family.js';
import { swigluPieces } from './feed_pieces.js';
import {
  attendConfig,
  attendPieces,
  attentionWidth,
  cacheShape,
  headsFromHub,
  headsToHub,
} from './grouped_attention.js';
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

/** What a dense model is made of: DeepSeek LLM, Llama. */
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

const blockSpec = (c: LlamaConfig) => ({
  attendNorm: vector(c.hidden, 1),
  attend: attendSpec(attendConfig(c), c.deviation),
  feedNorm: vector(c.hidden, 1),
  feed: feedSpec(c.hidden, c.inner, c.deviation),
});

const specs = (c: LlamaConfig) =>
  decoderSpec(
    c,
    Array.from({ length: c.layers }, () => blockSpec(c)),
  );

/** Dense models with attention of grouped keys. DeepSeek LLM, arXiv:2401.02954; Llama 2, arXiv:2307.09288. */
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
  head: (w) => ({ weight: w.head ?? w.embed }),
  cacheShape,
  layers: (c) => c.layers,
  vocabulary: (c) => c.vocabulary,
  routedExperts: (c) => new Array<number>(c.layers).fill(0),
  activeParameters: (c) => countParameters(specs(c)) - (c.tied ? 0 : c.vocabulary * c.hidden),
  attentionWidth,
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
  return {
    ...headsFromHub(h),
    vocabulary: Number(h.vocab_size),
    layers: Number(h.num_hidden_layers),
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
    ...headsToHub(c),
    vocab_size: c.vocabulary,
    intermediate_size: c.inner,
    num_hidden_layers: c.layers,
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
  return decoderPieces(path, p, (at, rest) => {
    const [part, name] = rest.split('.') as [string, string];
    return part === 'attend' ? attendPieces(c, at, name, p) : swigluPieces(`${at}.mlp`, name, c.inner, p);
  });
}
