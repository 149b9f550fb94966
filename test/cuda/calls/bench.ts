import { type Device, type DType, empty, from, type Shape, sizeOf, type Tensor } from '../../../src/tensor/index.js';

/** Normal values from a small generator (mulberry32): the emulator's cases have up to a million of them. */
function normals(count: number, seed: number, scale = 1): Float32Array {
  let state = seed * 0x9e3779b9;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return (((z ^ (z >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => scale * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

/** What a call may use; every draw is the same on every device. */
export interface Bench {
  readonly dtype: 'f32' | 'bf16';
  draw(shape: Shape, seed: number, options?: { dtype?: DType; scale?: number }): Tensor;
  ints(shape: Shape, value: (i: number) => number): Tensor;
  out(shape: Shape, dtype?: DType): Tensor;
}

export interface Call {
  readonly name: string;
  readonly run: (b: Bench) => readonly Tensor[];
  readonly dtypes?: readonly ('f32' | 'bf16')[];
  readonly tolerance?: number;
}

export function benchOf(device: Device, dtype: 'f32' | 'bf16'): Bench {
  return {
    dtype,
    draw: (shape, seed, options = {}) =>
      from(normals(sizeOf(shape), seed, options.scale), shape, {
        dtype: options.dtype ?? dtype,
        device,
      }),
    ints: (shape, value) =>
      from(
        Int32Array.from({ length: sizeOf(shape) }, (_, i) => value(i)),
        shape,
        { device },
      ),
    out: (shape, own = dtype) => empty(shape, { dtype: own, device }),
  };
}

// Where a gradient goes: written, added to what is there, or wanted by nobody.
export const fresh = (t: Tensor) => ({ id: t.id, beta: 0 }) as const;
export const added = (t: Tensor) => ({ id: t.id, beta: 1 }) as const;
export const nobody = { id: 0, beta: 0 } as const;

/** Results as numbers. */
export const valuesOf = (t: Tensor): ArrayLike<number> =>
  t.dtype === 'i32' ? t.readInts() : t.dtype === 'f64' ? t.readDoubles() : t.dtype === 'u8' ? t.readBytes() : t.read();
