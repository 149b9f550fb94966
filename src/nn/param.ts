import * as native from '../native.gen.js';
import type { Trained } from '../optim/adamw.js';
import {
  type Device,
  type DType,
  empty,
  keep,
  named,
  namedTensors,
  parameter,
  permanent,
  type Shape,
  type Tensor,
  tagged,
} from '../tensor/index.js';

/** How a parameter may be cut over devices: Megatron's annotations (spec of tensor parallelism). */
export type Shard = 'replicated' | 'column' | 'row' | 'vocabulary' | 'expert';

/** What is known of one parameter before it has values. Sharding, tying, decay and export read this record. */
export interface Param {
  readonly kind: 'param';
  readonly shape: Shape;
  /** Normal with this deviation, or a constant. */
  readonly init: { readonly normal: number } | { readonly constant: number };
  /** Weight decay applies (matrices, not gains and biases). */
  readonly decay: boolean;
  /** Kept in f32 whatever the compute type: router, correction bias, norm gains. */
  readonly f32: boolean;
  /** Not trained by gradients: V3's router correction bias. */
  readonly buffer: boolean;
  readonly shard: Shard;
}

/** Specifications of a model, nested as its weights are. */
export type Specs = Param | readonly Specs[] | { readonly [name: string]: Specs | undefined };

/** The tree of tensors that belongs to a tree of specifications. */
export type Weights<S> = S extends Param
  ? Tensor
  : S extends readonly (infer E)[]
    ? readonly Weights<E>[]
    : {
        readonly [K in keyof S]: S[K] extends undefined
          ? undefined
          : Weights<Exclude<S[K], undefined>> | Extract<S[K], undefined>;
      };

/** A matrix [out, in] or a stack of them, drawn from N(0, deviation^2). */
export function matrix(
  shape: Shape,
  deviation: number,
  shard: Shard = 'replicated',
  options: Partial<Param> = {},
): Param {
  return {
    kind: 'param',
    shape,
    init: { normal: deviation },
    decay: true,
    f32: false,
    buffer: false,
    shard,
    ...options,
  };
}

/** A vector of gains (ones) or biases (zeros); no weight decay. */
export function vector(size: number, value: 0 | 1, options: Partial<Param> = {}): Param {
  return {
    kind: 'param',
    shape: [size],
    init: { constant: value },
    decay: false,
    f32: true,
    buffer: false,
    shard: 'replicated',
    ...options,
  };
}

/** Every specification with its path, in the order of the tree: the names of checkpoints. */
export function namedParams(specs: Specs, prefix = ''): [string, Param][] {
  if (isParam(specs)) return [[prefix, specs]];
  const entries: [string, Specs | undefined][] = Array.isArray(specs)
    ? specs.map((s, i) => [String(i), s as Specs])
    : Object.entries(specs as { [name: string]: Specs | undefined });
  return entries.flatMap(([key, s]) => (s === undefined ? [] : namedParams(s, prefix ? `${prefix}.${key}` : key)));
}

/** Numbers of a model: all parameters, buffers included. */
export function countParameters(specs: Specs): number {
  return namedParams(specs).reduce((sum, [, p]) => sum + p.shape.reduce((a, b) => a * b, 1), 0);
}

/** What an optimizer trains of these weights, under their paths; buffers follow rules of their own. */
export function trainedOf(specs: Specs, weights: unknown): Trained[] {
  const tensors = new Map(namedTensors(weights));
  return namedParams(specs)
    .filter(([, param]) => !param.buffer)
    .map(([name, { decay }]) => ({ name, tensor: tensors.get(name)!, decay }));
}

/** How parameters are made. */
export interface InitOptions {
  /** Where the tensors lie. */
  readonly device: Device;
  /** Type of the compute copy; parameters marked f32 stay f32. */
  readonly dtype: 'f32' | 'bf16';
  /** Undefined leaves the values undefined, for loading. */
  readonly seed?: number;
  /** False: for inference, no gradients. */
  readonly train?: boolean;
}

/**
 * Makes the tensors of a specification. Values depend on the seed and the parameter's path only, so adding a layer does
 * not change the others.
 */
export function initialize<S extends Specs>(specs: S, options: InitOptions, path = ''): Weights<S> {
  const made: Tensor[] = [];
  try {
    return permanent(() => tagged('weights', () => build(specs, { ...options, made }, path))) as Weights<S>;
  } catch (error) {
    for (const tensor of made) tensor.dispose();
    throw error;
  }
}

/** With what was made so far, to be given back when the next finds no room. */
type Making = InitOptions & { readonly made: Tensor[] };

function build(specs: Specs | undefined, options: Making, path: string): unknown {
  if (specs === undefined) return undefined;
  if (isParam(specs)) return named(path, () => make(specs, options, path));
  const join = (key: string | number) => (path ? `${path}.${key}` : String(key));
  if (Array.isArray(specs)) return specs.map((s, i) => build(s as Specs, options, join(i)));
  return Object.fromEntries(Object.entries(specs).map(([key, s]) => [key, build(s as Specs, options, join(key))]));
}

function make(param: Param, options: Making, path: string): Tensor {
  const dtype: DType = param.f32 ? 'f32' : options.dtype;
  const tensor = empty(param.shape, { dtype, device: options.device, weight: param.shape.length > 1 });
  if (options.seed !== undefined) {
    if ('constant' in param.init) native.fill(tensor, param.init.constant);
    else native.randomNormal(tensor, 0, param.init.normal, hash(path, options.seed));
  }
  const made = param.buffer || options.train === false ? keep(tensor) : parameter(tensor);
  options.made.push(made);
  return made;
}

function isParam(specs: Specs): specs is Param {
  return (specs as Param).kind === 'param';
}

/** FNV-1a of the path mixed with the seed, 32 bits: one random stream per parameter. */
function hash(path: string, seed: number): number {
  let h = (0x811c9dc5 ^ seed) >>> 0;
  for (let i = 0; i < path.length; i++) h = Math.imul(h ^ path.charCodeAt(i), 0x01000193) >>> 0;
  return h;
}
