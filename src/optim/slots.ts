import * as native from '../native.gen.js';
import { type Communicator, type Held, SHARD_BLOCK, type Shard, Sharded } from '../parallel/index.js';
import { empty, type Shape, type Tensor, zeros } from '../tensor/index.js';
import { window } from '../tensor/tensor.js';
import type { AdamWConfig, Trained } from './adamw.js';

/** A parameter, or this rank's shard of it, with what the optimizer keeps of that. */
export interface Slot extends Trained {
  /** Which elements; undefined: all of them. */
  readonly shard: Shard | undefined;
  /** What the updates go to: f32 values, or the parameter's own when it is f32 or has no master. */
  readonly master: Tensor;
  /** True where the master is the parameter's own memory. */
  readonly direct: boolean;
  /** By the name they are saved under: m and v; in 8 bits m, root (of v), and their scales m_scale and root_scale. */
  readonly moments: Moments;
}

type Moments = Readonly<Record<string, Tensor>>;

/** The slot of a parameter, or of a shard of it. */
export function makeSlot(p: Trained, config: AdamWConfig, shard?: Shard): Slot {
  const values = shard ? shardOf(p.tensor, shard) : p.tensor;
  const moments = makeMoments(values, config.moments);
  if (values.dtype === 'f32' || config.master === false) return { ...p, shard, master: values, direct: true, moments };
  const master = empty(values.shape, { dtype: 'f32', device: values.device });
  native.copy(master, values);
  return { ...p, shard, master, direct: false, moments };
}

/** The elements of a shard, as a window. */
export const shardOf = (tensor: Tensor, { from, to }: Shard): Tensor => window(tensor, from, [to - from], [1]);

function makeMoments({ shape, size, device }: Tensor, dtype: AdamWConfig['moments']): Moments {
  const like = () => zeros(shape, { dtype, device });
  if (dtype !== 'u8') return { m: like(), v: like() };
  const scales = () => zeros([Math.ceil(size / SHARD_BLOCK)], { device });
  return { m: like(), root: like(), m_scale: scales(), root_scale: scales() };
}

/** What is saved of a parameter, by kind, with the shapes that it has on one rank. */
export function heldOf(
  { tensor }: Trained,
  slot: Slot | undefined,
  config: AdamWConfig,
  shards: readonly Shard[],
  ranks: Communicator,
): Readonly<Record<string, Held>> {
  const narrow = tensor.dtype !== 'f32' && config.master !== false;
  const held = (kind: string, dtype: Tensor['dtype'], own: Tensor | undefined, shape: Shape, unit = 1) => {
    const cut = shards.map(({ owner, from, to }) => ({ owner, from: from / unit, to: Math.ceil(to / unit) }));
    return [kind, new Sharded(shape, dtype, own, cut, ranks)] as const;
  };
  const scales = [Math.ceil(tensor.size / SHARD_BLOCK)];
  const kinds = config.moments === 'u8' ? ['m', 'root', 'm_scale', 'root_scale'] : ['m', 'v'];
  return Object.fromEntries([
    ...(narrow ? [held('master', 'f32', slot?.master, tensor.shape)] : []),
    ...kinds.map((kind) =>
      kind.endsWith('_scale')
        ? held(kind, 'f32', slot?.moments[kind], scales, SHARD_BLOCK)
        : held(kind, config.moments, slot?.moments[kind], tensor.shape),
    ),
  ]);
}
