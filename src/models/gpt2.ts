import { z } from 'zod';
import { TrainMoeError } from '../errors.js';
import { type DecoderWeights, decoder } from '../nn/decoder.js';
import { layerNormSpec } from '../nn/norm.js';
import { countParameters, matrix, type Param } from '../nn/param.js';
import { add } from '../ops/add.js';
import { embedding } from '../ops/embedding.js';
import type { Tensor } from '../tensor/index.js';
import { endingOf, type Family, type HubPiece, inLayer, wholePiece } from './family.js';
import {
  activationFromHub,
  activationSchema,
  activationToHub,
  attendOf,
  countedWithPadding,
  keysAndValues,
  preNormLayer,
  type TransformerBlock,
  transformerFields,
  transformerSpec,
  wholeHeads,
  widthOfAttention,
} from './transformer.js';

/** GPT-2: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners". */
export const gpt2Schema = wholeHeads(
  z.strictObject({
    ...transformerFields,
    activation: activationSchema,
    scaled: z.boolean().describe('scores are multiplied by headSize^-1/2'),
    scaledByLayer: z.boolean().describe('scores of layer i are divided by i + 1'),
    eps: z.number().positive(),
    tied: z.boolean().describe('the head is the embedding'),
    context: z.int().positive().describe('rows of the table of positions'),
  }),
);

/** What a GPT-2 is made of. */
export type Gpt2Config = z.infer<typeof gpt2Schema>;

/** `positions` [context, C] */
type Gpt2Weights = DecoderWeights<TransformerBlock> & { readonly positions: Tensor };

const published = {
  vocabulary: 50_257,
  activation: 'geluTanh',
  scaled: true,
  scaledByLayer: false,
  eps: 1e-5,
  tied: true,
  context: 1024,
  deviation: 0.02,
} as const;

const sized = (layers: number, hidden: number, heads: number): Gpt2Config => ({
  ...published,
  layers,
  hidden,
  heads,
  inner: 4 * hidden,
});

export const gpt2Presets = {
  gpt2: sized(12, 768, 12),
  'gpt2-medium': sized(24, 1024, 16),
  'gpt2-large': sized(36, 1280, 20),
  'gpt2-xl': sized(48, 1600, 25),
  'gpt2-nano': { ...sized(6, 256, 4), vocabulary: 4096 },
} satisfies Record<string, Gpt2Config>;

/** Matrices that write into the stream begin smaller by the root of their number, 2 a layer. Section 2.3 of the paper. */
const specs = (c: Gpt2Config) => ({
  embed: matrix([c.vocabulary, c.hidden], c.deviation, 'vocabulary'),
  positions: matrix([c.context, c.hidden], c.deviation),
  layers: Array.from({ length: c.layers }, () => transformerSpec(c, c.deviation / Math.sqrt(2 * c.layers))),
  norm: layerNormSpec(c.hidden),
  head: c.tied ? undefined : matrix([c.vocabulary, c.hidden], c.deviation, 'vocabulary'),
});

const scaleOf = (c: Gpt2Config, layer: number): number =>
  (c.scaled ? 1 : (c.hidden / c.heads) ** 0.5) / (c.scaledByLayer ? layer + 1 : 1);

/** Decoders with learned positions and LayerNorm. */
export const gpt2: Family<Gpt2Config, Gpt2Weights> = {
  name: 'gpt2',
  modelTypes: ['gpt2'],
  schema: gpt2Schema,
  presets: gpt2Presets,
  specs,
  forward: (w, c, ids, run) =>
    decoder(
      w,
      c.eps,
      (b, x, i, r) =>
        preNormLayer(b, { attend: attendOf(c, scaleOf(c, i)), activation: c.activation, eps: c.eps }, x, i, r),
      ids,
      run,
      (tokens) => add(embedding(w.embed, tokens), embedding(w.positions, run.layout.positions)), // [T,C]
    ),
  head: (w) => ({ weight: w.head ?? w.embed }),
  positions: countedWithPadding,
  cacheShape: keysAndValues,
  layers: (c) => c.layers,
  vocabulary: (c) => c.vocabulary,
  routedExperts: (c) => new Array<number>(c.layers).fill(0),
  activeParameters: (c) => countParameters(specs(c)) - c.context * c.hidden - (c.tied ? 0 : c.vocabulary * c.hidden),
  attentionWidth: widthOfAttention,
  fromHub,
  toHub,
  hubPieces,
  oldNames: (name) => [name.replace(/^transformer\./, '')],
};

type Json = Readonly<Record<string, unknown>>;

function fromHub(h: Json): Gpt2Config {
  if (h.add_cross_attention)
    throw new TrainMoeError('bad-config', 'config.json asks for cross-attention, which no decoder here has.');
  const hidden = Number(h.n_embd);
  return {
    vocabulary: Number(h.vocab_size),
    hidden,
    layers: Number(h.n_layer),
    heads: Number(h.n_head),
    inner: Number(h.n_inner ?? 4 * hidden),
    activation: activationFromHub(h.activation_function ?? 'gelu_new'),
    scaled: h.scale_attn_weights !== false,
    scaledByLayer: Boolean(h.scale_attn_by_inverse_layer_idx),
    eps: Number(h.layer_norm_epsilon ?? 1e-5),
    tied: h.tie_word_embeddings !== false,
    context: Number(h.n_positions ?? h.n_ctx ?? 1024),
    deviation: Number(h.initializer_range ?? 0.02),
  };
}

function toHub(c: Gpt2Config): Record<string, unknown> {
  return {
    architectures: ['GPT2LMHeadModel'],
    model_type: 'gpt2',
    vocab_size: c.vocabulary,
    n_embd: c.hidden,
    n_layer: c.layers,
    n_head: c.heads,
    n_inner: c.inner === 4 * c.hidden ? null : c.inner,
    n_positions: c.context,
    activation_function: activationToHub(c.activation),
    scale_attn_weights: c.scaled,
    scale_attn_by_inverse_layer_idx: c.scaledByLayer,
    layer_norm_epsilon: c.eps,
    initializer_range: c.deviation,
    tie_word_embeddings: c.tied,
  };
}

/** The matrices inside a layer, by our paths; on disk they are [in, out]. */
const MATRICES: Readonly<Record<string, string>> = {
  'attend.qkv': 'attn.c_attn',
  'attend.out': 'attn.c_proj',
  'feed.up': 'mlp.c_fc',
  'feed.down': 'mlp.c_proj',
};

function hubPieces(_: Gpt2Config, path: string, p: Param): readonly HubPiece[] {
  if (path === 'embed') return wholePiece('transformer.wte.weight', p);
  if (path === 'positions') return wholePiece('transformer.wpe.weight', p);
  if (path === 'head') return wholePiece('lm_head.weight', p);
  const ending = endingOf(path);
  if (path.startsWith('norm.')) return wholePiece(`transformer.ln_f.${ending}`, p);
  const [layer, rest] = inLayer(path)!;
  const at = `transformer.h.${layer}`;
  if (rest.startsWith('attendNorm')) return wholePiece(`${at}.ln_1.${ending}`, p);
  if (rest.startsWith('feedNorm')) return wholePiece(`${at}.ln_2.${ending}`, p);
  const name = `${at}.${MATRICES[rest.replace(/Bias$/, '')]}.${ending}`;
  if (ending === 'bias') return wholePiece(name, p);
  return [{ name, shape: p.shape.toReversed(), offset: 0, transposed: true }];
}
