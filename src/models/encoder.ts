import { z } from 'zod';
import { TrainMoeError } from '../errors.js';
import { attend } from '../nn/attend.js';
import { block, blockOrRecompute, postNormBlock } from '../nn/block.js';
import { decoder } from '../nn/decoder.js';
import { type DenseWeights, dense, denseSpec } from '../nn/dense.js';
import { mlp } from '../nn/mlp.js';
import { layerNormSpec, type NormWeights, norm } from '../nn/norm.js';
import { countParameters, matrix, type Param, vector } from '../nn/param.js';
import type { Run } from '../nn/run.js';
import { type Activation, activation } from '../ops/activation.js';
import { add } from '../ops/add.js';
import { embedding } from '../ops/embedding.js';
import { reshape, split, type Tensor, zeros } from '../tensor/index.js';
import type { Family, HubPiece, RelationNames } from './family.js';
import {
  activationSchema,
  attendOf,
  countedWithPadding,
  type Transformer,
  type TransformerBlock,
  transformerFields,
  transformerSpec,
  widthOfAttention,
} from './transformer.js';

/**
 * BERT and its descendants: every token sees the whole sequence, and the model says what stands where words were masked.
 * Devlin et al., arXiv:1810.04805. What the families differ in is here; each has a file that says so.
 */
export interface EncoderShape extends Transformer {
  readonly vocabulary: number;
  /** E, of the tables of words, positions and types; another than `hidden` is followed by a projection. */
  readonly width: number;
  /** Blocks that have weights of their own, each for a run of layers. */
  readonly blocks: number;
  readonly activation: Activation;
  /** Of the head for hidden words. */
  readonly headActivation: Activation;
  readonly eps: number;
  /** Rows of the table of positions. */
  readonly positions: number;
  /** Rows of the table of token types; 0: none. */
  readonly types: number;
  /** Norms come before the layers, and once more after the last, instead of after each and after the embedding. */
  readonly preNorm: boolean;
  /** A head on the first token that judges how two sentences follow each other. */
  readonly relation: boolean;
}

/** Settings that BERT and its descendants share. */
export const encoderFields = {
  ...transformerFields,
  activation: activationSchema,
  context: z.int().positive().describe('tokens that it reads'),
};

/** Weights of an encoder. */
export interface EncoderWeights {
  readonly embed: Tensor; // [V,E]
  readonly positions: Tensor; // [P,E]
  readonly types?: Tensor; // [N,E]
  readonly embedNorm?: NormWeights;
  readonly project?: DenseWeights; // [C,E]
  readonly layers: readonly TransformerBlock[];
  readonly norm?: NormWeights;
  readonly pooler?: DenseWeights; // [C,C]
  readonly transform: DenseWeights & { readonly norm: NormWeights }; // [E,C]
  readonly headBias: Tensor; // [V]
  readonly relation?: DenseWeights; // [2,C]
}

const specs = (s: EncoderShape) => ({
  embed: matrix([s.vocabulary, s.width], s.deviation, 'vocabulary'),
  positions: matrix([s.positions, s.width], s.deviation),
  types: s.types > 0 ? matrix([s.types, s.width], s.deviation) : undefined,
  embedNorm: s.preNorm ? undefined : layerNormSpec(s.width),
  project: s.width === s.hidden ? undefined : denseSpec(s.hidden, s.width, s.deviation),
  layers: Array.from({ length: s.blocks }, () => transformerSpec(s)),
  norm: s.preNorm ? layerNormSpec(s.hidden) : undefined,
  pooler: s.relation ? denseSpec(s.hidden, s.hidden, s.deviation) : undefined,
  transform: { ...denseSpec(s.width, s.hidden, s.deviation), norm: layerNormSpec(s.width) },
  headBias: vector(s.vocabulary, 0),
  relation: s.relation ? denseSpec(2, s.hidden, s.deviation) : undefined,
});

/**
 * Words, types and positions of ids [T]. -> [T,C]
 * @throws TrainMoeError `bad-argument` for types of a model that has none: DistilBERT
 */
function embedded(w: EncoderWeights, s: EncoderShape, ids: Tensor, run: Run): Tensor {
  if (run.types && !w.types)
    throw new TrainMoeError('bad-argument', 'This model has no token types; leave token_type_ids out.');
  const words = embedding(w.embed, ids);
  const types = () => run.types ?? zeros(ids.shape, { dtype: 'i32', device: ids.device });
  const typed = w.types ? add(words, embedding(w.types, types())) : words;
  const placed = add(typed, embedding(w.positions, run.layout.positions)); // [T,E]
  const normed = w.embedNorm ? norm(w.embedNorm, placed, s.eps) : placed;
  return w.project ? dense(w.project, normed) : normed;
}

function forward(w: EncoderWeights, s: EncoderShape, ids: Tensor, run: Run): Tensor {
  const attention = attendOf(s);
  const layers = Array.from({ length: s.layers }, (_, i) => w.layers[Math.floor((i * s.blocks) / s.layers)]!);
  return decoder(
    { ...w, layers },
    s.eps,
    (b, x, i, r) =>
      blockOrRecompute(
        b,
        s.eps,
        (a, h, index, own) => attend(a, attention, h, undefined, index, own),
        (f, h) => mlp(f, s.activation, h),
        x,
        i,
        r,
        s.preNorm ? block : postNormBlock,
      ),
    ids,
    run,
    (tokens) => embedded(w, s, tokens, run),
  );
}

/** The first token of each sequence, [T,C] -> [rows,C]. */
function firstTokens(hidden: Tensor, { rows, length }: Run['layout']): Tensor {
  const width = hidden.shape[1]!;
  const [first] = split(reshape(hidden, [rows, length * width]), [width, (length - 1) * width]);
  return first!;
}

/** What a family's file says of it. */
export interface EncoderParts<C>
  extends Pick<
    Family<C>,
    'name' | 'modelTypes' | 'schema' | 'presets' | 'fromHub' | 'toHub' | 'oldNames' | 'positions'
  > {
  shape(config: C): EncoderShape;
  hubPieces(config: C, path: string, param: Param): readonly HubPiece[];
  /** What transformers calls the labels and logits of the head that judges pairs. */
  readonly relationNames?: RelationNames;
}

/** The family of an encoder. */
export function encoderFamily<C>({ shape, relationNames, ...parts }: EncoderParts<C>): Family<C, EncoderWeights> {
  const active = (s: EncoderShape): number =>
    s.layers * countParameters(transformerSpec(s)) + s.width * (s.vocabulary + s.hidden);
  return {
    positions: countedWithPadding,
    ...parts,
    specs: (c) => specs(shape(c)),
    forward: (w, c, ids, run) => forward(w, shape(c), ids, run),
    head: (w) => ({ weight: w.embed, bias: w.headBias }),
    encoder: {
      transform: (w, c, hidden) =>
        norm(w.transform.norm, activation(dense(w.transform, hidden), shape(c).headActivation), shape(c).eps),
      relation: (w, _, hidden, layout) =>
        w.pooler && w.relation
          ? dense(w.relation, activation(dense(w.pooler, firstTokens(hidden, layout)), 'tanh'), 'f32')
          : undefined,
      ...(relationNames && { relationNames }),
    },
    layers: (c) => shape(c).layers,
    vocabulary: (c) => shape(c).vocabulary,
    routedExperts: (c) => new Array<number>(shape(c).layers).fill(0),
    activeParameters: (c) => active(shape(c)),
    attentionWidth: (c) => widthOfAttention(shape(c)),
  };
}
