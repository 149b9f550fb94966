import { TrainMoeError } from '../errors.js';
import { transposed } from '../hub/numbers.js';
import { linear } from '../ops/linear.js';
import { type Adapter, setAdapter } from '../ops/lora.js';
import { type Device, from, scope, type Tensor } from '../tensor/index.js';
import { initialize, matrix, type Param } from './param.js';

/** Which weights get adapters, and how large. Hu et al., arXiv:2106.09685. */
export interface LoraConfig {
  /** r, columns of B and rows of A. */
  readonly rank: number;
  /** The update is multiplied by alpha / rank. */
  readonly alpha: number;
  /** Share of the inputs of A that are set to 0 in training. */
  readonly dropout: number;
  /** Matrices that get adapters. */
  readonly targets: 'attention' | 'feed' | 'all';
}

/** One adapted weight: `path` is that of the weight in its model. */
export interface LoraEntry {
  readonly path: string;
  readonly weight: Tensor;
  readonly adapter: Adapter;
}

/** The adapters of a model, attached to its weights until they are disposed. */
export interface Lora {
  readonly config: LoraConfig;
  readonly entries: readonly LoraEntry[];
  /** Turns dropout on with this seed for the passes of a step; undefined turns it off. */
  seed(step: number | undefined): void;
  dispose(): void;
}

/**
 * The matrices by their own names. The up-projection of latent attention (kvUp) is none: decoding absorbs it into the
 * query and reads it without a product.
 */
const TARGETS: Readonly<Record<Exclude<LoraConfig['targets'], 'all'>, readonly string[]>> = {
  attention: ['qkv', 'query', 'queryDown', 'kvDown', 'out'],
  feed: ['gateUp', 'up', 'down'],
};

/**
 * Adds adapters to a model's weights, which the caller keeps from being trained. A is drawn from N(0, 1 / 3K), the
 * deviation of the usual uniform start, and B is 0.
 * @throws TrainMoeError `bad-config` when the model has none of the targets
 */
export function addLora(
  parameters: readonly { readonly path: string; readonly param: Param; readonly tensor: Tensor }[],
  config: LoraConfig,
  options: { readonly device: Device; readonly dtype: 'f32' | 'bf16'; readonly seed: number },
): Lora {
  const names = config.targets === 'all' ? [...TARGETS.attention, ...TARGETS.feed] : TARGETS[config.targets];
  const chosen = parameters.filter(({ path, param }) => names.includes(path.split('.').at(-1)!) && !param.f32);
  if (chosen.length === 0)
    throw new TrainMoeError('bad-config', `The model has no weights that lora.targets = ${config.targets} means.`);
  const entries = chosen.map(({ path, param, tensor }): LoraEntry => {
    const [inner, outer, ...stack] = param.shape.toReversed() as [number, number, ...number[]];
    const specs = {
      a: matrix([...stack, config.rank, inner], Math.sqrt(1 / (3 * inner))),
      b: matrix([...stack, outer, config.rank], 0, 'replicated', { init: { constant: 0 } }),
    };
    const { a, b } = initialize(specs, { ...options, train: true }, path);
    const { alpha, rank, dropout } = config;
    const adapter: Adapter = { a, b, scale: alpha / rank, dropout, seed: undefined };
    setAdapter(tensor, adapter);
    return { path, weight: tensor, adapter };
  });
  return {
    config,
    entries,
    seed(step) {
      entries.forEach(({ adapter }, i) => {
        adapter.seed = step === undefined || config.dropout === 0 ? undefined : step * entries.length + i;
      });
    },
    dispose() {
      for (const { weight, adapter } of entries) {
        setAdapter(weight, undefined);
        adapter.a.dispose();
        adapter.b.dispose();
      }
    },
  };
}

/**
 * W + scale * B A of a weight's values, in f32. A and B may be given apart from their tensors: masters.
 * @param shape of the weight: [N,K] or [E,N,K]
 */
export function mergedValues(
  weight: Float32Array,
  shape: readonly number[],
  { a, b, scale }: { readonly a: Float32Array; readonly b: Float32Array; readonly scale: number },
  device: Device,
): Float32Array {
  const [inner, outer, stack = 1] = shape.toReversed() as [number, number, number?];
  const rank = a.length / (stack * inner);
  const merged = Float32Array.from(weight);
  for (let e = 0; e < stack; e++) {
    const down = a.subarray(e * rank * inner, (e + 1) * rank * inner);
    const up = b.slice(e * outer * rank, (e + 1) * outer * rank);
    const delta = scope(() =>
      linear(
        from(up, [outer, rank], { device }),
        from(transposed(down, rank, inner), [inner, rank], { device }),
      ).read(),
    );
    const at = e * outer * inner;
    for (let i = 0; i < delta.length; i++) merged[at + i]! += scale * delta[i]!;
  }
  return merged;
}
