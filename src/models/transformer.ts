import { z } from 'zod';
import { TrainMoeError } from '../errors.js';
import { type AttendConfig, type AttendWeights, attend, attendSpec } from '../nn/attend.js';
import { type BlockWeights, blockOrRecompute } from '../nn/block.js';
import { type MlpWeights, mlp, mlpSpec } from '../nn/mlp.js';
import { layerNormSpec } from '../nn/norm.js';
import type { Param } from '../nn/param.js';
import type { Run } from '../nn/run.js';
import type { Activation } from '../ops/activation.js';
import type { Tensor } from '../tensor/index.js';
import { endingOf, type HubPiece, rowsPiece, wholePiece } from './family.js';

/**
 * The layers that BERT, GPT-2 and their descendants share: LayerNorm, attention with biases and as many key heads as query heads,
 * two products with a nonlinearity between. Vaswani et al., arXiv:1706.03762.
 */
export interface Transformer {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number; // divides hidden
  readonly inner: number;
  readonly deviation: number;
}

/** The same as settings, with the vocabulary and the deviation of the initial weights. */
export const transformerFields = {
  vocabulary: z.int().positive(),
  hidden: z.int().positive(),
  layers: z.int().positive(),
  heads: z.int().positive().describe('divides hidden'),
  inner: z.int().positive().describe('width of the feed-forward layer'),
  deviation: z.number().positive().describe('of the initial weights'),
};

/** Refuses widths that the heads cannot share. */
export const wholeHeads = <S extends z.ZodType<Pick<Transformer, 'hidden' | 'heads'>>>(schema: S) =>
  schema.refine(({ hidden, heads }) => hidden % heads === 0, { path: ['heads'], error: 'must divide hidden' });

/** Weights of such a layer, whether its norms come before or after. */
export type TransformerBlock = BlockWeights<AttendWeights, MlpWeights>;

/** Its attention; `factor` multiplies the usual scale, headSize^-1/2. */
export function attendOf({ hidden, heads }: Transformer, factor = 1): AttendConfig {
  const headSize = hidden / heads;
  return { hidden, heads, keyHeads: heads, headSize, scale: factor * headSize ** -0.5, biased: true };
}

/** Parameters of a layer; `out`: deviation of the matrices that write into the stream. */
export const transformerSpec = (c: Transformer, out = c.deviation) => ({
  attendNorm: layerNormSpec(c.hidden),
  attend: attendSpec(attendOf(c), c.deviation, out),
  feedNorm: layerNormSpec(c.hidden),
  feed: mlpSpec(c.hidden, c.inner, c.deviation, out),
});

/** How a layer computes. */
export interface TransformerOptions {
  readonly attend: AttendConfig;
  readonly activation: Activation;
  readonly eps: number;
}

/** A layer whose norms come first: GPT-2, CTRL, Megatron's BERT. x [T,C] -> [T,C] */
export const preNormLayer = (w: TransformerBlock, o: TransformerOptions, x: Tensor, index: number, run: Run): Tensor =>
  blockOrRecompute(
    w,
    o.eps,
    (a, h, i, r) => attend(a, o.attend, h, undefined, i, r),
    (f, h) => mlp(f, o.activation, h),
    x,
    index,
    run,
  );

/** Family.positions() of models that count padding too: every row begins at position 0. */
export const countedWithPadding = (_config: unknown, ids: Int32Array, length: number): Int32Array =>
  ids.map((_id, r) => r % length);

/** What generation keeps of a token. */
export const keysAndValues = ({ hidden, heads }: Transformer) => {
  const shape = [heads, hidden / heads];
  return { key: shape, value: shape };
};

/** Both products of attention are as wide as the stream. */
export const widthOfAttention = ({ layers, hidden }: Transformer): number => layers * 2 * hidden;

/** The pieces of one parameter that holds queries, keys and values: a matrix or its biases. */
export function thirds(names: readonly [string, string, string], p: Param): readonly HubPiece[] {
  const each = p.shape[0]! / 3;
  return names.map((name, i) => rowsPiece(name, p, i * each, each));
}

/** How a family calls what a layer has, for layerPieces(). */
export interface LayerNames {
  /** Of the three projections, apart. */
  readonly qkv: readonly [string, string, string];
  readonly out: string;
  readonly attendNorm: string;
  readonly up: string;
  readonly down: string;
  readonly feedNorm: string;
}

/** Names on disk of a layer's parameter, whose path in it is `rest`, in the layer called `at`. */
export function layerPieces(names: LayerNames, at: string, rest: string, p: Param): readonly HubPiece[] {
  const [part, name] = rest.split('.') as [string, string];
  const ending = endingOf(name);
  const own = name.replace(/Bias$/, '');
  if (own === 'qkv') return thirds(names.qkv.map((q) => `${at}.${q}.${ending}`) as unknown as LayerNames['qkv'], p);
  const key = (part === 'attendNorm' || part === 'feedNorm' ? part : own) as Exclude<keyof LayerNames, 'qkv'>;
  return wholePiece(`${at}.${names[key]}.${ending}`, p);
}

/** @throws TrainMoeError `bad-config` where the head has a matrix of its own, in families whose head is the embedding */
export function refuseUntied(h: Readonly<Record<string, unknown>>): void {
  if (h.tie_word_embeddings !== false) return;
  throw new TrainMoeError(
    'bad-config',
    `config.json has tie_word_embeddings false; of ${h.model_type} models only those are read whose head is the embedding.`,
  );
}

/** Nonlinearities as settings. */
export const activationSchema = z.enum(['gelu', 'geluTanh', 'relu', 'silu', 'tanh']);

/** Ours of the names that config.json has for nonlinearities. */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_new: 'geluTanh',
  gelu_pytorch_tanh: 'geluTanh',
  gelu_fast: 'geluTanh',
  gelu_accurate: 'geluTanh',
  relu: 'relu',
  silu: 'silu',
  swish: 'silu',
  tanh: 'tanh',
};

/** @throws TrainMoeError `bad-config` for one we do not have */
export function activationFromHub(name: unknown): Activation {
  const found = ACTIVATIONS[String(name)];
  if (found) return found;
  throw new TrainMoeError(
    'bad-config',
    `config.json asks for the activation "${name}"; there are ${Object.keys(ACTIVATIONS).join(', ')}.`,
  );
}

/** The name that config.json has for one of ours. */
export const activationToHub = (f: Activation): string => (f === 'geluTanh' ? 'gelu_new' : f);
