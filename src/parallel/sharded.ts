import { bytesOf, type DType, device, empty, type Shape, scope, sizeOf, Tensor } from '../tensor/index.js';
import { window } from '../tensor/tensor.js';
import type { Communicator } from './communicator.js';
import type { Shard } from './shards.js';

/** Values that are kept over steps and in checkpoints: a tensor, or one whose parts lie with several ranks. */
export type Held = Tensor | Sharded;

/**
 * A tensor of which each rank holds its shard, if it has one. To read it is a collective: all ranks read the same ones in the
 * same order, and each gets the whole. To write it is not: each takes its part of the whole it is given.
 */
export class Sharded {
  constructor(
    readonly shape: Shape,
    readonly dtype: DType,
    /** This rank's elements, flat. */
    readonly own: Tensor | undefined,
    private readonly shards: readonly Shard[],
    private readonly ranks: Communicator,
  ) {}

  get size(): number {
    return sizeOf(this.shape);
  }

  /** As Tensor.readBytes(), of the whole. */
  readBytes(): Uint8Array {
    return scope(() => {
      const whole = empty([this.size], { dtype: this.dtype, device: device('cpu') });
      const pieces = this.shards.map(({ owner, from, to }) => ({
        owner,
        tensor: window(whole, from, [to - from], [1]),
      }));
      const mine = this.shards.findIndex(({ owner }) => owner === this.ranks.rank);
      if (this.own) pieces[mine]!.tensor.writeBytes(this.own.readBytes());
      this.ranks.allGather(pieces, 'reading of what the ranks hold');
      return whole.readBytes();
    });
  }

  /** As Tensor.read(), of the whole; of f32 only. */
  read(): Float32Array {
    return new Float32Array(this.readBytes().buffer);
  }

  /** As Tensor.writeBytes(). */
  writeBytes(bytes: Uint8Array): this {
    const mine = this.shards.find(({ owner }) => owner === this.ranks.rank);
    const width = bytesOf(this.dtype);
    if (mine) this.own?.writeBytes(bytes.subarray(mine.from * width, mine.to * width));
    return this;
  }

  /** As Tensor.write(), of f32 only. */
  write(values: Float32Array): this {
    return this.writeBytes(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }

  /** The same, cut in the same way, with other values of this rank. */
  with(own: Tensor | undefined): Sharded {
    return new Sharded(this.shape, this.dtype, own, this.shards, this.ranks);
  }
}

/** The part of it that lies here. */
export const ownPart = (held: Held): Tensor | undefined => (held instanceof Tensor ? held : held.own);
