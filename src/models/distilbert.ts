import { z } from 'zod';
import type { Param } from '../nn/param.js';
import { olderNames, refuseOthers } from './bert.js';
import { encoderFamily, encoderFields } from './encoder.js';
import { endingOf, type HubPiece, inLayer, wholePiece } from './family.js';
import { activationFromHub, activationToHub, type LayerNames, layerPieces, wholeHeads } from './transformer.js';

/** DistilBERT: half of BERT's layers, without token types. Sanh et al., arXiv:1910.01108. */
export const distilbertSchema = wholeHeads(z.strictObject(encoderFields));

/** What a DistilBERT is made of. */
export type DistilbertConfig = z.infer<typeof distilbertSchema>;

export const distilbertPresets = {
  'distilbert-base': {
    vocabulary: 30_522,
    layers: 6,
    hidden: 768,
    heads: 12,
    inner: 3072,
    activation: 'gelu',
    context: 512,
    deviation: 0.02,
  },
} satisfies Record<string, DistilbertConfig>;

/** Encoders as small as a distilled BERT. */
export const distilbert = encoderFamily<DistilbertConfig>({
  name: 'distilbert',
  modelTypes: ['distilbert'],
  schema: distilbertSchema,
  presets: distilbertPresets,
  shape: (c) => ({
    ...c,
    width: c.hidden,
    blocks: c.layers,
    eps: 1e-12, // config.json has no key for it
    headActivation: c.activation,
    positions: c.context,
    types: 0,
    preNorm: false,
    relation: false,
  }),
  fromHub(h) {
    refuseOthers(h);
    return {
      vocabulary: Number(h.vocab_size),
      hidden: Number(h.dim ?? h.hidden_size),
      layers: Number(h.n_layers ?? h.num_hidden_layers),
      heads: Number(h.n_heads ?? h.num_attention_heads),
      inner: Number(h.hidden_dim ?? h.intermediate_size),
      activation: activationFromHub(h.activation ?? 'gelu'),
      context: Number(h.max_position_embeddings ?? 512),
      deviation: Number(h.initializer_range ?? 0.02),
    };
  },
  toHub: (c) => ({
    architectures: ['DistilBertForMaskedLM'],
    model_type: 'distilbert',
    vocab_size: c.vocabulary,
    dim: c.hidden,
    n_layers: c.layers,
    n_heads: c.heads,
    hidden_dim: c.inner,
    activation: activationToHub(c.activation),
    max_position_embeddings: c.context,
    initializer_range: c.deviation,
    tie_word_embeddings: true,
    pad_token_id: 0,
  }),
  hubPieces: (_, path, p) => pieces(path, p),
  oldNames: (name) => olderNames(name, 'distilbert.'),
});

const NAMES: LayerNames = {
  qkv: ['attention.q_lin', 'attention.k_lin', 'attention.v_lin'],
  out: 'attention.out_lin',
  attendNorm: 'sa_layer_norm',
  up: 'ffn.lin1',
  down: 'ffn.lin2',
  feedNorm: 'output_layer_norm',
};

function pieces(path: string, p: Param): readonly HubPiece[] {
  const whole = (name: string) => wholePiece(name, p);
  if (path === 'embed') return whole('distilbert.embeddings.word_embeddings.weight');
  if (path === 'positions') return whole('distilbert.embeddings.position_embeddings.weight');
  if (path === 'headBias') return whole('vocab_projector.bias');
  if (path.startsWith('embedNorm.')) return whole(`distilbert.embeddings.LayerNorm.${endingOf(path)}`);
  if (path.startsWith('transform.norm.')) return whole(`vocab_layer_norm.${endingOf(path)}`);
  if (path.startsWith('transform.')) return whole(`vocab_transform.${endingOf(path)}`);
  const [layer, rest] = inLayer(path)!;
  return layerPieces(NAMES, `distilbert.transformer.layer.${layer}`, rest, p);
}
