import { z } from 'zod';
import { TrainMoeError } from '../errors.js';
import type { Param } from '../nn/param.js';
import { type EncoderShape, encoderFamily, encoderFields } from './encoder.js';
import { endingOf, type HubPiece, inLayer, wholePiece } from './family.js';
import {
  activationFromHub,
  activationToHub,
  type LayerNames,
  layerPieces,
  refuseUntied,
  wholeHeads,
} from './transformer.js';

/** BERT. Devlin et al., arXiv:1810.04805. */
export const bertSchema = wholeHeads(
  z.strictObject({
    ...encoderFields,
    eps: z.number().positive(),
    types: z.int().positive().describe('kinds of tokens: 2, of the first sentence and of the second'),
    relation: z.boolean().describe('a head that says whether the second sentence follows the first'),
  }),
);

/** What a BERT is made of. */
export type BertConfig = z.infer<typeof bertSchema>;

/** Context, types, epsilon and nonlinearity of the released models. */
export const published = {
  vocabulary: 30_522,
  activation: 'gelu',
  eps: 1e-12,
  context: 512,
  types: 2,
  relation: true,
  deviation: 0.02,
} as const;

const sized = (layers: number, hidden: number): BertConfig => ({
  ...published,
  layers,
  hidden,
  heads: hidden / 64,
  inner: 4 * hidden,
});

export const bertPresets = {
  'bert-base': sized(12, 768),
  'bert-large': sized(24, 1024),
  'bert-tiny': sized(2, 128),
  'bert-mini': sized(4, 256),
  'bert-small': sized(4, 512),
  'bert-medium': sized(8, 512),
} satisfies Record<string, BertConfig>;

export const shapeOfBert = (c: BertConfig): EncoderShape => ({
  ...c,
  width: c.hidden,
  blocks: c.layers,
  headActivation: c.activation,
  positions: c.context,
  preNorm: false,
});

/** Encoders with learned positions, whose norms come after each layer. */
export const bert = encoderFamily<BertConfig>({
  name: 'bert',
  modelTypes: ['bert'],
  schema: bertSchema,
  presets: bertPresets,
  shape: shapeOfBert,
  relationNames: { labels: 'next_sentence_label', logits: 'seq_relationship_logits', asks: 'next' },
  fromHub: (h) => bertFromHub(h),
  toHub: (c) => ({ ...bertToHub(c, 'bert', c.relation ? 'BertForPreTraining' : 'BertForMaskedLM'), pad_token_id: 0 }),
  hubPieces: (_, path, p) => bertPieces('bert', LAYER, path, p) ?? clsPieces(path, p),
  oldNames: (name) => olderNames(name, 'bert.'),
});

type Json = Readonly<Record<string, unknown>>;

/** @throws TrainMoeError `bad-config` for what is no encoder with a head for masked words */
export function bertFromHub(h: Json): BertConfig {
  refuseOthers(h);
  return {
    vocabulary: Number(h.vocab_size),
    hidden: Number(h.hidden_size),
    layers: Number(h.num_hidden_layers),
    heads: Number(h.num_attention_heads),
    inner: Number(h.intermediate_size),
    activation: activationFromHub(h.hidden_act ?? 'gelu'),
    eps: Number(h.layer_norm_eps ?? 1e-12),
    context: Number(h.max_position_embeddings ?? 512),
    types: Number(h.type_vocab_size ?? 2),
    relation: architectureOf(h).endsWith('ForPreTraining'),
    deviation: Number(h.initializer_range ?? 0.02),
  };
}

/** Empty where the file does not say, as those of BERT's small models do not: it is read as one for masked words. */
const architectureOf = (h: Json): string => String((h.architectures as readonly unknown[] | undefined)?.[0] ?? '');

/** @throws TrainMoeError `bad-config` for models whose heads or attention we do not have */
export function refuseOthers(h: Json): void {
  refuseUntied(h);
  const name = architectureOf(h);
  if (!/^$|(ForMaskedLM|ForPreTraining)$/.test(name))
    throw new TrainMoeError(
      'bad-config',
      `config.json names the architecture "${name}"; of encoders those are read that predict masked words: ...ForMaskedLM, ...ForPreTraining.`,
    );
  if (h.is_decoder || (h.position_embedding_type ?? 'absolute') !== 'absolute')
    throw new TrainMoeError(
      'bad-config',
      'config.json asks for a decoder or for relative positions, which encoders here do not have.',
    );
}

/** The keys that BERT and those closest to it share. */
export const bertToHub = (
  c: Omit<BertConfig, 'relation'>,
  type: string,
  architecture: string,
): Record<string, unknown> => ({
  architectures: [architecture],
  model_type: type,
  vocab_size: c.vocabulary,
  hidden_size: c.hidden,
  num_hidden_layers: c.layers,
  num_attention_heads: c.heads,
  intermediate_size: c.inner,
  hidden_act: activationToHub(c.activation),
  layer_norm_eps: c.eps,
  max_position_embeddings: c.context,
  type_vocab_size: c.types,
  initializer_range: c.deviation,
  tie_word_embeddings: true,
});

/** How layers of BERT and RoBERTa call their parts. */
export const LAYER: LayerNames = {
  qkv: ['attention.self.query', 'attention.self.key', 'attention.self.value'],
  out: 'attention.output.dense',
  attendNorm: 'attention.output.LayerNorm',
  up: 'intermediate.dense',
  down: 'output.dense',
  feedNorm: 'output.LayerNorm',
};

/** Names of what lies below the head for masked words; undefined for the rest. */
export function bertPieces(base: string, names: LayerNames, path: string, p: Param): readonly HubPiece[] | undefined {
  const whole = (name: string) => wholePiece(`${base}.${name}`, p);
  if (path === 'embed') return whole('embeddings.word_embeddings.weight');
  if (path === 'positions') return whole('embeddings.position_embeddings.weight');
  if (path === 'types') return whole('embeddings.token_type_embeddings.weight');
  if (path.startsWith('embedNorm.')) return whole(`embeddings.LayerNorm.${endingOf(path)}`);
  if (path.startsWith('norm.')) return whole(`encoder.ln.${endingOf(path)}`);
  if (path.startsWith('pooler.')) return whole(`pooler.dense.${endingOf(path)}`);
  const layer = inLayer(path);
  return layer ? layerPieces(names, `${base}.encoder.layer.${layer[0]}`, layer[1], p) : undefined;
}

/** Names of BERT's heads. */
export function clsPieces(path: string, p: Param): readonly HubPiece[] {
  if (path === 'headBias') return wholePiece('cls.predictions.bias', p);
  if (path.startsWith('relation.')) return wholePiece(`cls.seq_relationship.${endingOf(path)}`, p);
  const part = path.startsWith('transform.norm.') ? 'LayerNorm' : 'dense';
  return wholePiece(`cls.predictions.transform.${part}.${endingOf(path)}`, p);
}

/** Names of TensorFlow's time, and files of the base model alone, whose names have no prefix. */
export function olderNames(name: string, prefix: string): string[] {
  const bare = name.startsWith(prefix) ? [name, name.slice(prefix.length)] : [name];
  const tf = (n: string) =>
    n.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta');
  return bare.flatMap((n) => [n, tf(n)]);
}
