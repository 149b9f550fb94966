import * as native from '../native.gen.js';
import type { Acc } from '../native.js';
import { tagged } from './device.js';
import { permanent } from './scope.js';
import { empty, type Shape, stridesOf, type Tensor, window } from './tensor.js';

/** Where in its parent a slice lies: offset and strides in elements of the parent's own (dense) gradient. */
interface Window {
  readonly parent: GradientState;
  /** The slices that were cut together with it, which make up the whole. */
  readonly cut: Cut;
  readonly offset: number;
  readonly shape: Shape;
  readonly stride: Shape;
}

/** Slices that together are the whole of their parent. */
export type Cut = GradientState[];

/** A gradient buffer; several states may share one until one of them writes. */
interface Shared {
  readonly tensor: Tensor;
  owners: number;
}

/**
 * The gradient of one tensor while a tape unwinds. Memory is taken at the first request and never zero-filled: the first
 * writer gets beta 0, later ones beta 1. Slices made by split() write through to their parent's buffer, which may be cut in
 * several ways: until the whole is settled, one cut alone has been written.
 */
export class GradientState {
  private shared: Shared | undefined;
  private written = false;
  private readonly cuts: Cut[] = [];

  constructor(
    readonly of: Tensor,
    /** A parameter's gradient is f32 and survives the tape; zeroed by starting over. */
    readonly leaf: boolean,
    private readonly slice?: Window,
  ) {
    if (!slice) return;
    if (slice.cut.length === 0) slice.parent.cuts.push(slice.cut);
    slice.cut.push(this);
  }

  /** True when something has been written: for a slice, also what may lie in it, to the whole or to another cut. */
  get present(): boolean {
    const { slice } = this;
    if (slice) return this.written || slice.parent.written || slice.parent.begun(slice.cut) !== undefined;
    return this.written || this.begun() !== undefined;
  }

  /** The buffer to add to, seen with `shape`, and whether it holds something already. */
  accumulate(shape: Shape): Acc {
    const { slice } = this;
    if (slice) {
      slice.parent.settle(slice.cut);
      const whole = slice.parent.buffer();
      const beta = this.written || slice.parent.written ? 1 : 0;
      this.written = true;
      return { id: reshaped(window(whole, slice.offset, slice.shape, slice.stride), shape).id, beta };
    }
    this.settle();
    const buffer = this.buffer();
    const beta = this.written ? 1 : 0;
    this.written = true;
    return { id: reshaped(buffer, shape).id, beta };
  }

  /** The finished gradient, seen with `shape`; undefined when nothing was written. */
  value(shape: Shape): Tensor | undefined {
    if (!this.present) return undefined;
    const { slice } = this;
    if (slice) {
      slice.parent.settle(slice.cut);
      if (!this.written && !slice.parent.written) return undefined;
      return reshaped(window(slice.parent.buffer(), slice.offset, slice.shape, slice.stride), shape);
    }
    this.settle();
    return reshaped(this.shared!.tensor, shape);
  }

  /** As value(), but no other state sees the buffer: for gradients that are changed in place. */
  exclusive(shape: Shape): Tensor | undefined {
    if (!this.present) return undefined;
    (this.slice?.parent ?? this).buffer();
    return this.value(shape);
  }

  /** @internal True for a part made by split(). */
  get isPart(): boolean {
    return this.slice !== undefined;
  }

  /** Adds `dy`, which nobody changes later: takes the same buffer when this gradient is still empty. */
  share(dy: Tensor, source: GradientState | undefined): void {
    const buffer = source && !source.slice && source.shared?.tensor;
    if (
      !this.slice &&
      !this.leaf &&
      !this.present &&
      buffer &&
      buffer.dtype === this.of.dtype &&
      this.cuts.length === 0
    ) {
      this.shared = source.shared!;
      this.shared.owners++;
      this.written = true;
    } else native.axpy(this.accumulate(dy.shape), dy, 1);
  }

  /** Starts over: the next writer gets beta 0. The memory is kept. */
  reset(): void {
    this.cuts.length = 0; // windows of an earlier pass say nothing about the next
    this.written = false;
  }

  /** Gives the memory back. A part owns none, and its parent still has to know that it was written. */
  release(): void {
    if (this.slice) return;
    if (this.shared && --this.shared.owners === 0) this.shared.tensor.dispose();
    this.shared = undefined;
    this.cuts.length = 0;
    this.written = false;
  }

  /** Before the whole is used, or cut in another way than `cut`: slices that got nothing, of those that did, become zero. */
  private settle(cut?: Cut): void {
    if (this.written) return;
    const begun = this.begun(cut);
    if (!begun) return;
    for (const part of begun) if (!part.written) native.copy(part.windowOn(this.buffer()), zeroLike(part.of));
    this.written = true;
  }

  /** The cut, another than `cut`, some slice of which has been written. */
  private begun(cut?: Cut): Cut | undefined {
    return this.cuts.find((one) => one !== cut && one.some((part) => part.written));
  }

  private windowOn(whole: Tensor): Tensor {
    const { offset, shape, stride } = this.slice!;
    return window(whole, offset, shape, stride);
  }

  private buffer(): Tensor {
    if (this.shared && this.shared.owners > 1) {
      this.shared.owners--;
      const copy = allocate(this.of, this.leaf);
      native.copy(copy, this.shared.tensor);
      this.shared = { tensor: copy, owners: 1 };
    }
    this.shared ??= { tensor: allocate(this.of, this.leaf), owners: 1 };
    return this.shared.tensor;
  }
}

function allocate(of: Tensor, leaf: boolean): Tensor {
  return permanent(() =>
    tagged('gradients', () => empty(of.shape, { dtype: leaf ? 'f32' : of.dtype, device: of.device })),
  );
}

function zeroLike(of: Tensor): Tensor {
  const zero = empty(of.shape, of);
  native.fill(zero, 0);
  return zero;
}

function reshaped(tensor: Tensor, shape: Shape): Tensor {
  if (tensor.shape.length === shape.length && tensor.shape.every((d, i) => d === shape[i])) return tensor;
  return window(tensor, 0, shape, tensor.contiguous ? stridesOf(shape) : regroup(tensor, shape));
}

/** Strides of a strided window seen with another shape, where leading dims are only split or merged. */
function regroup(tensor: Tensor, shape: Shape): number[] {
  const stride = new Array<number>(shape.length);
  let from = tensor.shape.length - 1;
  let inner = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    while (from > 0 && inner === tensor.shape[from]) {
      from--;
      inner = 1;
    }
    stride[i] = tensor.stride[from]! * inner;
    inner *= shape[i]!;
  }
  return stride;
}
