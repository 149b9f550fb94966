import type { z } from 'zod';
import type { Param, Specs } from '../nn/param.js';
import type { Run } from '../nn/run.js';
import type { Tensor } from '../tensor/index.js';

/** Part of a parameter that has a tensor of its own on disk: `shape` values starting at element `offset`. */
export interface HubPiece {
  readonly name: string;
  readonly shape: readonly number[];
  readonly offset: number;
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
  /** The matrix [V,C] that turns hidden states into logits. */
  head(weights: W): Tensor;
  /**
   * Multi-token prediction, where the family has it: hidden states for the token after next, from those of the main
   * model and the next token's ids.
   */
  predictNext?(weights: W, config: C, hidden: Tensor, nextIds: Tensor, run: Run): Tensor;
  /** Router correction biases with the layer they belong to, to be updated after each step. */
  routerBiases?(weights: W): readonly { readonly layer: number; readonly bias: Tensor }[];
  cacheShape(config: C, form: CacheForm): CacheShape;
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

/** Positions that a model reads at most: every family's configuration has them under this name. */
export const contextOf = ({ config }: Pick<Model, 'config'>): number =>
  (config as { readonly context: number }).context;

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
