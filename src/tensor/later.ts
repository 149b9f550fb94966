import { TrainMoeError } from '../errors.js';
import { addon } from '../native.js';
import type { Tensor } from './tensor.js';

/** The values of a tensor on the host. */
export type Values = Float32Array | Int32Array | Float64Array;

const ARRAYS = { f32: Float32Array, i32: Int32Array, f64: Float64Array } as const;

/**
 * Starts a copy of the tensor's values to the host, as they are at this place among the device's work, and goes on. The
 * function that it returns waits for that copy alone and gives the values; call it once.
 * @throws TrainMoeError `bad-argument` on other types than f32, i32 and f64, and on tensors whose rows lie apart.
 */
export function readLater(tensor: Tensor): () => Values {
  const { dtype, size } = tensor;
  if (dtype !== 'f32' && dtype !== 'i32' && dtype !== 'f64')
    throw new TrainMoeError('bad-argument', `readLater() takes f32, i32 and f64 tensors, and this one is ${dtype}.`);
  const copy = addon.beginRead(tensor.id);
  return () => {
    const values = new ARRAYS[dtype](size);
    addon.endRead(copy, values);
    return values;
  };
}
