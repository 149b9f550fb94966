import { z } from 'zod';
import { type DecoderWeights, decoder } from '../nn/decoder.js';
import { layerNormSpec } from '../nn/norm.js';
import { countParameters, matrix, type Param, vector } from '../nn/param.js';
import { sinusoidFor } from '../nn/sinusoid.js';
import { add } from '../ops/add.js';
import { cast } from '../ops/cast.js';
import { embedding } from '../ops/embedding.js';
import type { Tensor } from '../tensor/index.js';
import { type Family, type HubPiece, inLayer, wholePiece } from './family.js';
import {
  attendOf,
  countedWithPadding,
  keysAndValues,
  type LayerNames,
  layerPieces,
  preNormLayer,
  refuseUntied,
  type TransformerBlock,
  transformerFields,
  transformerSpec,
  wholeHeads,
  widthOfAttention,
} from './transformer.js';

/** CTRL, a decoder whose texts begin with a control code. Keskar et al., arXiv:1909.05858. */
export const ctrlSchema = wholeHeads(
  z.strictObject({
    ...transformerFields,
    eps: z.number().positive().describe('of the last norm; those of the layers have 1e-6'),
    context: z.int().positive(),
  }),
);

/** What a CTRL is made of. */
export type CtrlConfig = z.infer<typeof ctrlSchema>;

/** `headBias` [V] */
type CtrlWeights = DecoderWeights<TransformerBlock> & { readonly headBias: Tensor };

export const ctrlPresets = {
  ctrl: {
    vocabulary: 246_534,
    hidden: 1280,
    layers: 48,
    heads: 16,
    inner: 8192,
    eps: 1e-6,
    context: 512,
    deviation: 0.02,
  },
} satisfies Record<string, CtrlConfig>;

/** Of the norms inside layers, whatever config.json says. */
const LAYER_EPS = 1e-6;

const specs = (c: CtrlConfig) => ({
  embed: matrix([c.vocabulary, c.hidden], c.deviation, 'vocabulary'),
  layers: Array.from({ length: c.layers }, () => transformerSpec(c)),
  norm: layerNormSpec(c.hidden),
  headBias: vector(c.vocabulary, 0),
});

/** Decoders with sinusoidal positions, an embedding times the root of its width, and a bias for every word. */
export const ctrl: Family<CtrlConfig, CtrlWeights> = {
  name: 'ctrl',
  modelTypes: ['ctrl'],
  schema: ctrlSchema,
  presets: ctrlPresets,
  specs,
  forward(w, c, ids, run) {
    const table = sinusoidFor(c.hidden, c.context, ids.device);
    const options = { attend: attendOf(c), activation: 'relu', eps: LAYER_EPS } as const;
    return decoder(
      w,
      c.eps,
      (b, x, i, r) => preNormLayer(b, options, x, i, r),
      ids,
      run,
      (tokens) =>
        add(
          embedding(w.embed, tokens, Math.sqrt(c.hidden)), // [T,C]
          cast(embedding(table, run.layout.positions), w.embed.dtype as 'f32' | 'bf16'),
        ),
    );
  },
  head: (w) => ({ weight: w.embed, bias: w.headBias }),
  positions: countedWithPadding,
  cacheShape: keysAndValues,
  layers: (c) => c.layers,
  vocabulary: (c) => c.vocabulary,
  routedExperts: (c) => new Array<number>(c.layers).fill(0),
  activeParameters: (c) => countParameters(specs(c)),
  attentionWidth: widthOfAttention,
  fromHub(h) {
    refuseUntied(h);
    return {
      vocabulary: Number(h.vocab_size),
      hidden: Number(h.n_embd),
      layers: Number(h.n_layer),
      heads: Number(h.n_head),
      inner: Number(h.dff),
      eps: Number(h.layer_norm_epsilon ?? 1e-6),
      context: Number(h.n_positions ?? 256),
      deviation: Number(h.initializer_range ?? 0.02),
    };
  },
  toHub: (c) => ({
    architectures: ['CTRLLMHeadModel'],
    model_type: 'ctrl',
    vocab_size: c.vocabulary,
    n_embd: c.hidden,
    n_layer: c.layers,
    n_head: c.heads,
    dff: c.inner,
    n_positions: c.context,
    layer_norm_epsilon: c.eps,
    initializer_range: c.deviation,
    tie_word_embeddings: true,
  }),
  hubPieces,
};

const NAMES: LayerNames = {
  qkv: ['multi_head_attention.Wq', 'multi_head_attention.Wk', 'multi_head_attention.Wv'],
  out: 'multi_head_attention.dense',
  attendNorm: 'layernorm1',
  up: 'ffn.0',
  down: 'ffn.2',
  feedNorm: 'layernorm2',
};

function hubPieces(_: CtrlConfig, path: string, p: Param): readonly HubPiece[] {
  if (path === 'embed') return wholePiece('transformer.w.weight', p);
  if (path === 'headBias') return wholePiece('lm_head.bias', p);
  if (path === 'norm.gain') return wholePiece('transformer.layernorm.weight', p);
  if (path === 'norm.bias') return wholePiece('transformer.layernorm.bias', p);
  const [layer, rest] = inLayer(path)!;
  return layerPieces(NAMES, `transformer.h.${layer}`, rest, p);
}
