import { z } from 'zod';
import type { Param } from '../nn/param.js';
import { bertFromHub, bertPieces, bertToHub, LAYER, olderNames } from './bert.js';
import { encoderFamily, encoderFields } from './encoder.js';
import { endingOf, type HubPiece, wholePiece } from './family.js';
import { wholeHeads } from './transformer.js';

/** RoBERTa: BERT without pairs of sentences, trained longer on more text. Liu et al., arXiv:1907.11692. */
export const robertaSchema = wholeHeads(
  z.strictObject({
    ...encoderFields,
    eps: z.number().positive(),
    types: z.int().positive().describe('rows of the table of token types, of which the first is used'),
    pad: z.int().nonnegative().describe('id of padding; the first token has the position after it'),
  }),
);

/** What a RoBERTa is made of. */
export type RobertaConfig = z.infer<typeof robertaSchema>;

const published = {
  vocabulary: 50_265,
  activation: 'gelu',
  eps: 1e-5,
  context: 512,
  types: 1,
  pad: 1,
  deviation: 0.02,
} as const;

export const robertaPresets = {
  'roberta-base': { ...published, layers: 12, hidden: 768, heads: 12, inner: 3072 },
  'roberta-large': { ...published, layers: 24, hidden: 1024, heads: 16, inner: 4096 },
  'roberta-nano': { ...published, vocabulary: 4096, layers: 6, hidden: 256, heads: 4, inner: 1024 },
} satisfies Record<string, RobertaConfig>;

/** Rows of the table of positions that come before the first token's: padding has the last of them. */
const before = (c: Pick<RobertaConfig, 'pad'>): number => c.pad + 1;

/** Encoders whose positions begin behind that of padding. */
export const roberta = encoderFamily<RobertaConfig>({
  name: 'roberta',
  modelTypes: ['roberta'],
  schema: robertaSchema,
  presets: robertaPresets,
  shape: (c) => ({
    ...c,
    width: c.hidden,
    blocks: c.layers,
    headActivation: 'gelu', // whatever that of the layers is
    positions: c.context + before(c),
    preNorm: false,
    relation: false,
  }),
  positions: positionsBehindPadding,
  fromHub(h) {
    const { relation: _, ...config } = bertFromHub(h);
    const pad = Number(h.pad_token_id ?? 1);
    return { ...config, pad, context: config.context - before({ pad }) };
  },
  toHub: (c) => ({
    ...bertToHub({ ...c, context: c.context + before(c) }, 'roberta', 'RobertaForMaskedLM'),
    pad_token_id: c.pad,
    bos_token_id: 0,
    eos_token_id: 2,
  }),
  hubPieces: (_, path, p) => bertPieces('roberta', LAYER, path, p) ?? headPieces(path, p),
  oldNames: (name) => olderNames(name, 'roberta.'),
});

/** Tokens count from pad + 1 on, padding not, wherever it stands. */
function positionsBehindPadding({ pad }: RobertaConfig, ids: Int32Array, length: number): Int32Array {
  let tokens = 0;
  return ids.map((id, r) => {
    if (r % length === 0) tokens = 0;
    return id === pad ? pad : pad + ++tokens;
  });
}

function headPieces(path: string, p: Param): readonly HubPiece[] {
  if (path === 'headBias') return wholePiece('lm_head.bias', p);
  const part = path.startsWith('transform.norm.') ? 'layer_norm' : 'dense';
  return wholePiece(`lm_head.${part}.${endingOf(path)}`, p);
}
