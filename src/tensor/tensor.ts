import { TrainMoeError } from '../errors.js';
import * as native from '../native.gen.js';
import { addon } from '../native.js';
import { type Device, device as openDevice } from './device.js';
import type { GradientState } from './gradient.js';
import { placed } from './named.js';
import { adopt, forget, type Made } from './scope.js';

/** Element types. f64 serves sums, u8 raw bytes; models compute in f32 or bf16. */
export type DType = 'f32' | 'bf16' | 'i32' | 'f64' | 'u8';
const CODES: Readonly<Record<DType, number>> = { f32: 0, bf16: 1, i32: 2, f64: 3, u8: 4 };

/** Sizes of the dimensions, the last one dense in memory. */
export type Shape = readonly number[];

/**
 * A handle on native memory with a shape. Row-major; a view may have rows that lie apart. It belongs to the scope or tape
 * that was active when it was made and is released with it (scope.ts, tape.ts), else it lives until `dispose()`.
 */
export class Tensor {
  /** Gradient bookkeeping, shared with reshaped views; absent on tensors that no gradient flows to. */
  gradient: GradientState | undefined;
  /** @internal The list of whoever releases this tensor; undefined when only dispose() does. */
  list: Made | undefined;
  /** @internal Where on that list. */
  place = 0;

  /** @internal use empty(), from(), or the view functions */
  constructor(
    public id: number,
    readonly shape: Shape,
    readonly stride: Shape,
    readonly dtype: DType,
    readonly device: Device,
  ) {
    adopt(this);
  }

  /** Elements */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** True when gradients flow to this tensor. */
  get requiresGrad(): boolean {
    return this.gradient !== undefined;
  }

  /** True when the elements lie side by side, as native functions that take no windows need it. */
  get contiguous(): boolean {
    let expected = 1;
    for (let i = this.shape.length - 1; i >= 0; i--) {
      if (this.shape[i] !== 1 && this.stride[i] !== expected) return false;
      expected *= this.shape[i]!;
    }
    return true;
  }

  /** The values on the host: bf16 comes as floats, i32 as Int32Array through `readInts()`. Waits for the device. */
  read(): Float32Array {
    if (this.dtype === 'f64') return Float32Array.from(this.readDoubles());
    if (this.dtype !== 'f32' && this.dtype !== 'bf16')
      throw new TrainMoeError(
        'bad-argument',
        `read() gives floats, but this tensor is ${this.dtype}; use readInts() or readBytes().`,
      );
    if (this.dtype === 'f32' && this.contiguous) {
      const out = new Float32Array(this.size);
      addon.read(this.id, out);
      return out;
    }
    const plain = empty(this.shape, { dtype: 'f32', device: this.device });
    try {
      native.copy(plain, this);
      return plain.read();
    } finally {
      plain.dispose();
    }
  }

  /** The values of an i32 tensor on the host. Waits for the device. */
  readInts(): Int32Array {
    this.expect('i32');
    const out = new Int32Array(this.size);
    addon.read(this.id, out);
    return out;
  }

  /** The values of an f64 tensor on the host. Waits for the device. */
  readDoubles(): Float64Array {
    this.expect('f64');
    const out = new Float64Array(this.size);
    addon.read(this.id, out);
    return out;
  }

  /** The raw bytes of a contiguous tensor, for files. */
  readBytes(into: Uint8Array = new Uint8Array(this.size * bytesOf(this.dtype))): Uint8Array {
    addon.read(this.id, into);
    return into;
  }

  /** The one value of a tensor of size 1. */
  item(): number {
    if (this.size !== 1)
      throw new TrainMoeError('bad-argument', `item() needs one value, but the shape is [${this.shape}].`);
    if (this.dtype === 'i32') return this.readInts()[0]!;
    return this.dtype === 'f64' ? this.readDoubles()[0]! : this.read()[0]!;
  }

  /** Replaces the values. Floats are rounded to the tensor's dtype; the length must fit. */
  write(data: Float32Array | Int32Array | Uint8Array | Float64Array): this {
    if (this.dtype === 'bf16' && data instanceof Float32Array) {
      const plain = from(data, this.shape, { device: this.device });
      native.copy(this, plain);
      plain.dispose();
    } else addon.write(this.id, data);
    return this;
  }

  /** Replaces the raw bytes of a contiguous tensor, from files. */
  writeBytes(bytes: Uint8Array): this {
    addon.write(this.id, bytes);
    return this;
  }

  /** Releases the handle now; the memory goes when its last view does. Twice is harmless. */
  dispose(): void {
    if (this.id === 0) return;
    forget(this);
    if (this.gradient?.of === this) this.gradient.release();
    releaseNow([this]);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** What console.log() shows: `Tensor f32[2,3] on cpu-avx2`. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    const dead = this.id === 0 ? ', released' : '';
    return `Tensor ${this.dtype}[${this.shape}] on ${this.device.name}${dead}`;
  }

  private expect(dtype: DType): void {
    if (this.dtype !== dtype) throw new TrainMoeError('bad-argument', `This tensor is ${this.dtype}, not ${dtype}.`);
  }
}

/** Type and place of a new tensor. */
export interface TensorOptions {
  readonly dtype?: DType;
  readonly device?: Device;
  /** A parameter: products may keep packed copies of it until it is next written. */
  readonly weight?: boolean;
}

/** Elements of a shape. */
export function sizeOf(shape: Shape): number {
  let n = 1;
  for (const d of shape) n *= d;
  return n;
}

/** Bytes of one element. */
export function bytesOf(dtype: DType): number {
  return dtype === 'f64' ? 8 : dtype === 'bf16' ? 2 : dtype === 'u8' ? 1 : 4;
}

/** Row-major strides, in elements. */
export function stridesOf(shape: Shape): number[] {
  const stride = new Array<number>(shape.length);
  let next = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    stride[i] = next;
    next *= shape[i]!;
  }
  return stride;
}

/** A tensor of undefined content. dtype and device default to those of `like` when a tensor is given, else f32 on the CPU. */
export function empty(shape: Shape, options: TensorOptions | Tensor = {}): Tensor {
  const dtype = options.dtype ?? 'f32';
  const on = options.device ?? openDevice('cpu');
  const weight = !(options instanceof Tensor) && options.weight ? 1 : 0;
  return new Tensor(create(on, dtype, weight, shape), shape, stridesOf(shape), dtype, on);
}

/** The handle of a new tensor. @throws TrainMoeError `out-of-memory`, which names the place in the model */
function create(on: Device, dtype: DType, weight: 0 | 1, shape: Shape): number {
  try {
    return addon.create(on.index, CODES[dtype], weight, ...shape);
  } catch (error) {
    throw placed(error);
  }
}

/** A tensor of zeros. */
export function zeros(shape: Shape, options: TensorOptions | Tensor = {}): Tensor {
  const t = empty(shape, options);
  native.fill(t, 0);
  return t;
}

/**
 * A tensor with these values. The dtype follows the array (Float32Array: f32, Int32Array: i32, Float64Array: f64,
 * Uint8Array: u8) unless `dtype: 'bf16'` asks floats to be rounded.
 * @throws TrainMoeError `bad-argument` when the length does not fit the shape.
 */
export function from(
  data: Float32Array | Int32Array | Float64Array | Uint8Array | readonly number[],
  shape?: Shape,
  options: TensorOptions = {},
): Tensor {
  const array = Array.isArray(data)
    ? options.dtype === 'i32'
      ? Int32Array.from(data)
      : Float32Array.from(data)
    : (data as Float32Array | Int32Array | Float64Array | Uint8Array);
  const to = shape ?? [array.length];
  if (sizeOf(to) !== array.length)
    throw new TrainMoeError(
      'bad-argument',
      `${array.length} values do not fit the shape [${to}], which holds ${sizeOf(to)}.`,
    );
  const dtype: DType =
    array instanceof Float32Array
      ? (options.dtype ?? 'f32')
      : array instanceof Int32Array
        ? 'i32'
        : array instanceof Float64Array
          ? 'f64'
          : 'u8';
  return empty(to, { ...options, dtype }).write(array);
}

/** Handles on their way to addon.release(), which keeps none of it: one array for all calls, for making one is not free. */
let leaving = new Float64Array(256);

/** @internal Releases handles in one native call and marks the objects dead; gaps are passed over. */
export function releaseNow(tensors: Made): void {
  if (tensors.length > leaving.length) leaving = new Float64Array(2 * tensors.length);
  let n = 0;
  for (const t of tensors) {
    if (!t || t.id === 0) continue;
    leaving[n++] = t.id;
    t.id = 0;
    t.list = undefined;
  }
  if (n > 0) addon.release(leaving, n);
}

/** @internal A window on the same memory, without gradient bookkeeping. Offset and strides in elements. */
export function window(base: Tensor, offset: number, shape: Shape, stride: Shape): Tensor {
  return new Tensor(
    addon.view(base.id, offset, shape.length, ...shape, ...stride),
    shape,
    stride,
    base.dtype,
    base.device,
  );
}
