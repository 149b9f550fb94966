import { z } from 'zod';
import { TrainMoeError } from '../errors.js';
import type { Param } from '../nn/param.js';
import { bertFromHub, bertPieces, bertSchema, bertToHub, olderNames, shapeOfBert } from './bert.js';
import { encoderFamily } from './encoder.js';
import { endingOf, type HubPiece, inLayer, wholePiece } from './family.js';
import { type LayerNames, layerPieces, wholeHeads } from './transformer.js';

/** ALBERT: layers that share their weights, behind a narrow embedding. Lan et al., arXiv:1909.11942. */
export const albertSchema = wholeHeads(
  z
    .strictObject({
      ...bertSchema.shape,
      embedding: z.int().positive().describe('width of the tables of words, positions and types'),
      groups: z.int().positive().describe('layers with weights of their own, each for a run of layers'),
    })
    .refine(({ layers, groups }) => groups <= layers, { path: ['groups'], error: 'must not be more than layers' }),
);

/** What an ALBERT is made of. */
export type AlbertConfig = z.infer<typeof albertSchema>;

const sized = (layers: number, hidden: number, heads: number): AlbertConfig => ({
  vocabulary: 30_000,
  embedding: 128,
  layers,
  groups: 1,
  hidden,
  heads,
  inner: 4 * hidden,
  activation: 'geluTanh',
  eps: 1e-12,
  context: 512,
  types: 2,
  relation: true,
  deviation: 0.02,
});

export const albertPresets = {
  'albert-base': sized(12, 768, 12),
  'albert-large': sized(24, 1024, 16),
  'albert-xlarge': sized(24, 2048, 16),
  'albert-xxlarge': sized(12, 4096, 64),
} satisfies Record<string, AlbertConfig>;

/** Encoders with few weights for their depth. */
export const albert = encoderFamily<AlbertConfig>({
  name: 'albert',
  modelTypes: ['albert'],
  schema: albertSchema,
  presets: albertPresets,
  shape: (c) => ({ ...shapeOfBert(c), width: c.embedding, blocks: c.groups }),
  relationNames: { labels: 'sentence_order_label', logits: 'sop_logits', asks: 'order' },
  fromHub(h) {
    if (Number(h.inner_group_num ?? 1) !== 1)
      throw new TrainMoeError(
        'bad-config',
        `config.json has inner_group_num ${h.inner_group_num}; only 1 is supported.`,
      );
    return {
      ...bertFromHub({ ...h, hidden_act: h.hidden_act ?? 'gelu_new' }),
      embedding: Number(h.embedding_size ?? 128),
      groups: Number(h.num_hidden_groups ?? 1),
    };
  },
  toHub: (c) => ({
    ...bertToHub(c, 'albert', c.relation ? 'AlbertForPreTraining' : 'AlbertForMaskedLM'),
    embedding_size: c.embedding,
    num_hidden_groups: c.groups,
    inner_group_num: 1,
    pad_token_id: 0,
    bos_token_id: 2,
    eos_token_id: 3,
  }),
  hubPieces: (_, path, p) => pieces(path, p),
  oldNames: (name) => olderNames(name, 'albert.'),
});

const NAMES: LayerNames = {
  qkv: ['attention.query', 'attention.key', 'attention.value'],
  out: 'attention.dense',
  attendNorm: 'attention.LayerNorm',
  up: 'ffn',
  down: 'ffn_output',
  feedNorm: 'full_layer_layer_norm',
};

function pieces(path: string, p: Param): readonly HubPiece[] {
  const whole = (name: string) => wholePiece(name, p);
  if (path === 'headBias') return whole('predictions.bias');
  if (path.startsWith('transform.norm.')) return whole(`predictions.LayerNorm.${endingOf(path)}`);
  if (path.startsWith('transform.')) return whole(`predictions.dense.${endingOf(path)}`);
  if (path.startsWith('relation.')) return whole(`sop_classifier.classifier.${endingOf(path)}`);
  if (path.startsWith('pooler.')) return whole(`albert.pooler.${endingOf(path)}`);
  if (path.startsWith('project.')) return whole(`albert.encoder.embedding_hidden_mapping_in.${endingOf(path)}`);
  const layer = inLayer(path);
  if (!layer) return bertPieces('albert', NAMES, path, p)!;
  return layerPieces(NAMES, `albert.encoder.albert_layer_groups.${layer[0]}.albert_layers.0`, layer[1], p);
}
