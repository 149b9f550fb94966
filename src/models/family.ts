import type { z } from 'zod';
import { TrainMoeError } from '../errors.js';
import type { Layout } from '../nn/layout.js';
import type { Param, Specs } from '../nn/param.js';
import type { RelativeSettings } from '../nn/relative_layout.js';
import type { Run } from '../nn/run.js';
import { linear } from '../ops/linear.js';
import type { Tensor } from '../tensor/index.js';

/**
 * Part of a parameter that has a tensor of its own on disk: as many values as `shape` has, from element `offset` on.
 */
export interface HubPiece {
  readonly name: string;
  /** On disk. */
  readonly shape: readonly number[];
  readonly offset: number;
  /** The tensor on disk is [in, out], as GPT-2 stores its matrices, where ours is [out, in]. */
  readonly transposed?: boolean;
}

/** What turns hidden states [T,C] into logits [T,V]: x weight^T + bias. */
export interface Head {
  /** [V,C] */
  readonly weight: Tensor;
  /** [V] */
  readonly bias?: Tensor | undefined;
}

/**
 * How latent attention keeps the tokens it has seen: as latents, which are few numbers, or as the keys and values of all heads
 * that they expand to, as in training. Other attention has one form.
 */
export type CacheForm = 'latent' | 'expanded';

/** What one token of a layer's cache holds: the shapes of LayerCache's tensors behind [pages, page]. */
export interface CacheShape {
  readonly key: readonly number[];
  readonly value?: readonly number[];
  readonly shared?: readonly number[];
}

/** What transformers calls the labels and logits of a head that judges pairs of sentences. */
export interface RelationNames {
  readonly labels: string;
  readonly logits: string;
  /** What the family's paper asks of a pair: whether its second text is the next, or whether both are in order. */
  readonly asks: 'next' | 'order';
}

/** What an encoder has besides its stream of hidden states [T,C]. */
export interface Encoder<C = unknown, W = unknown> {
  /** Hidden states [R,C] as head() reads them, of all tokens or of masked ones. */
  transform(weights: W, config: C, hidden: Tensor): Tensor;
  /** How the sentences of each pair belong together, [rows,2] f32, from all hidden states; undefined without such a head. */
  relation(weights: W, config: C, hidden: Tensor, layout: Layout): Tensor | undefined;
  readonly relationNames?: RelationNames;
}

/** What a family with a memory of earlier segments says of its passes. */
export interface Recurrence extends RelativeSettings {
  /** A pass gives the memory for the next: what goes into each layer. */
  readonly remembers: boolean;
  /** Tokens that are remembered at most; 0: all. */
  readonly memoryLength: number;
  /** First tokens of a segment that are remembered; 0: all. */
  readonly reuseLength: number;
}

/**
 * Everything the rest of the package needs to know of a model family: one file in src/models each, listed in index.ts.
 * `C` is its configuration, `W` its tree of weights.
 */
export interface Family<C = unknown, W = unknown> {
  readonly name: string;
  /** Values of `model_type` in config.json that mean this family. */
  readonly modelTypes: readonly string[];
  readonly schema: z.ZodType<C>;
  readonly presets: Readonly<Record<string, C>>;
  specs(config: C): Specs;
  /** ids [T] -> hidden states after the final norm [T,C]. */
  forward(weights: W, config: C, ids: Tensor, run: Run): Tensor;
  head(weights: W): Head;
  /**
   * Positions [T] of ids [T], sequences of `length`, where nobody gives any and the family does not count them from the first
   * token behind the padding.
   */
  positions?(config: C, ids: Int32Array, length: number): Int32Array;
  /**
   * Multi-token prediction, where the family has it: hidden states for the token after next, from those of the main
   * model and the next token's ids.
   */
  predictNext?(weights: W, config: C, hidden: Tensor, nextIds: Tensor, run: Run): Tensor;
  /** Router correction biases with the layer they belong to, to be updated after each step. */
  routerBiases?(weights: W): readonly { readonly layer: number; readonly bias: Tensor }[];
  /** Absent where every token sees those after it, too, so that nothing can be written: encoders, XLNet. */
  cacheShape?(config: C, form: CacheForm): CacheShape;
  /** Present in encoders: how masked words are predicted. */
  readonly encoder?: Encoder<C, W>;
  /** Present where passes have a memory and may predict words in any order; their labels are not those of the next: XLNet. */
  recurrence?(config: C): Recurrence;
  layers(config: C): number;
  vocabulary(config: C): number;
  /** Experts a layer routes over, 0 where it is dense; the list has an entry per layer, multi-token modules after them. */
  routedExperts(config: C): readonly number[];
  /** Parameters that take part in one token's forward pass, embedding not counted: 6 times this is FLOPs per trained token. */
  activeParameters(config: C): number;
  /** Width that attention adds to the FLOPs: heads * (qk + v) summed over layers. */
  attentionWidth(config: C): number;
  /** Hugging Face config.json to ours. @throws TrainMoeError `bad-config` naming what is not supported. */
  fromHub(config: Readonly<Record<string, unknown>>): C;
  toHub(config: C): Record<string, unknown>;
  /** The tensors on disk that a parameter is made of. */
  hubPieces(config: C, path: string, param: Param): readonly HubPiece[];
  /** Other names that a tensor has in older files. */
  oldNames?(name: string): readonly string[];
}

/** A model: a family, its configuration and weights. */
export interface Model<C = unknown, W = unknown> {
  /** What it is. */
  readonly family: Family<C, W>;
  /** Its sizes. */
  readonly config: C;
  /** Its tensors, nested as `family.specs(config)` is. */
  readonly weights: W;
  /** Type of the matrices. */
  readonly dtype: 'f32' | 'bf16';
}

/** Positions that a model reads at most: a family's configuration has them under this name, unless there is no limit. */
export const contextOf = ({ config }: Pick<Model, 'config'>): number =>
  (config as { readonly context?: number }).context ?? Number.POSITIVE_INFINITY;

/** Why a model of this family cannot write; undefined of one that can. */
export function whyMute({
  name,
  cacheShape,
  encoder,
}: Pick<Family, 'name' | 'cacheShape' | 'encoder'>): string | undefined {
  if (cacheShape) return undefined;
  return encoder
    ? `a ${name} model, an encoder: it fills in masked words and cannot write`
    : `a model of the family ${name}, for which generation is not built`;
}

/**
 * What a token of a layer's cache holds.
 * @throws TrainMoeError `bad-argument` of a model that cannot write
 */
export function cacheShapeOf({ family, config }: Pick<Model, 'family' | 'config'>, form: CacheForm): CacheShape {
  if (family.cacheShape) return family.cacheShape(config, form);
  throw new TrainMoeError('bad-argument', `This is ${whyMute(family)}; give a model such as llama, deepseek or gpt2.`);
}

/** Logits of hidden states [T,C], in f32. -> [T,V] */
export function logitsOf({ family, weights }: Pick<Model, 'family' | 'weights'>, hidden: Tensor): Tensor {
  const { weight, bias } = family.head(weights);
  return linear(hidden, weight, bias, 'f32');
}

/** "layers.3.attend.qkv" -> ["3", "attend.qkv"]; undefined of what lies in no layer. */
export function inLayer(path: string): readonly [layer: string, rest: string] | undefined {
  const found = /^layers\.(\d+)\.(.+)$/.exec(path);
  return found ? [found[1]!, found[2]!] : undefined;
}

/** How the name on disk of such a path ends: "norm.gain" -> "weight", "norm.bias" and "attend.qkvBias" -> "bias". */
export const endingOf = (path: string): string => (/bias$/i.test(path) ? 'bias' : 'weight');

/** Rows from..to of a parameter's first dimension as one tensor on disk. */
export function rowsPiece(name: string, param: Param, start: number, count: number): HubPiece {
  const inner = param.shape.slice(1).reduce((a, b) => a * b, 1);
  return { name, shape: [count, ...param.shape.slice(1)], offset: start * inner };
}

/** The whole parameter as one tensor on disk. */
export function wholePiece(name: string, param: Param): readonly HubPiece[] {
  return [{ name, shape: param.shape, offset: 0 }];
}

/** Per-expert tensors of a stack [E, rows, C]: `names` share the rows equally, in order. */
export function expertPieces(prefix: string, names: readonly string[], param: Param): HubPiece[] {
  const [count, rows, inner] = param.shape as [number, number, number];
  const each = rows / names.length;
  return Array.from({ length: count }, (_, e) =>
    names.map((name, i) => ({
      name: `${prefix}.${e}.${name}.weight`,
      shape: [each, inner],
      offset: (e * rows + i * each) * inner,
    })),
  ).flat();
}
