import {
  type BertConfig,
  bertFromHub,
  bertPieces,
  bertSchema,
  bertToHub,
  clsPieces,
  LAYER,
  olderNames,
  published,
  shapeOfBert,
} from './bert.js';
import { encoderFamily } from './encoder.js';
import type { LayerNames } from './transformer.js';

const sized = (layers: number, hidden: number, heads: number): BertConfig => ({
  ...published,
  vocabulary: 29_056,
  layers,
  hidden,
  heads,
  inner: 4 * hidden,
});

export const megatronBertPresets = { 'megatron-bert-345m': sized(24, 1024, 16) } satisfies Record<string, BertConfig>;

const NAMES: LayerNames = { ...LAYER, attendNorm: 'attention.ln', feedNorm: 'ln' };

/**
 * BERT whose norms come before the layers, so that it gets better the larger it is. Shoeybi et al., Megatron-LM,
 * arXiv:1909.08053, section 5.3.
 */
export const megatronBert = encoderFamily<BertConfig>({
  name: 'megatron-bert',
  modelTypes: ['megatron-bert'],
  schema: bertSchema,
  presets: megatronBertPresets,
  shape: (c) => ({ ...shapeOfBert(c), preNorm: true }),
  relationNames: { labels: 'next_sentence_label', logits: 'seq_relationship_logits', asks: 'order' },
  fromHub: bertFromHub,
  toHub: (c) => ({
    ...bertToHub(c, 'megatron-bert', c.relation ? 'MegatronBertForPreTraining' : 'MegatronBertForMaskedLM'),
    pad_token_id: 0,
  }),
  hubPieces: (_, path, p) => bertPieces('bert', NAMES, path, p) ?? clsPieces(path, p),
  oldNames: (name) => olderNames(name, 'bert.'),
});
