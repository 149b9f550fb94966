import { f32ToBf16, f32ToF16 } from '../numbers.js';

/** How a tensor's values may be stored: whole numbers of a block of 32 with a scale (Q8_0), or one by one. */
export const GGML_TYPES = {
  F32: { id: 0, block: 1, bytes: 4 },
  F16: { id: 1, block: 1, bytes: 2 },
  Q8_0: { id: 8, block: 32, bytes: 34 },
  BF16: { id: 30, block: 1, bytes: 2 },
} as const;

export type GgmlType = keyof typeof GGML_TYPES;

/** Values in a type of GGML. Their number must divide by its block. */
export function encoded(values: Float32Array, type: GgmlType): Uint8Array {
  switch (type) {
    case 'F32':
      return bytesOf(values);
    case 'F16':
      return bytesOf(f32ToF16(values));
    case 'BF16':
      return bytesOf(f32ToBf16(values));
    case 'Q8_0':
      return quantized8(values);
  }
}

const bytesOf = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/**
 * Blocks of 32 values: d = max|x| / 127 as f16, then round(x / d) as 8-bit integers, halves away from zero. The scale that
 * divides is the one before it is rounded to f16, as in GGML's reference.
 */
function quantized8(values: Float32Array): Uint8Array {
  const { block, bytes } = GGML_TYPES.Q8_0;
  const blocks = values.length / block;
  const scales = new Float32Array(blocks);
  const out = new Uint8Array(blocks * bytes);
  const whole = new Int8Array(out.buffer);
  for (let b = 0; b < blocks; b++) {
    let largest = 0;
    for (let i = 0; i < block; i++) largest = Math.max(largest, Math.abs(values[b * block + i]!));
    const d = Math.fround(largest / 127);
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    scales[b] = d;
    for (let i = 0; i < block; i++) {
      const x = Math.fround(values[b * block + i]! * inverse);
      whole[b * bytes + 2 + i] = Math.sign(x) * Math.floor(Math.abs(x) + 0.5);
    }
  }
  const halves = f32ToF16(scales);
  for (let b = 0; b < blocks; b++) {
    out[b * bytes] = halves[b]! & 0xff;
    out[b * bytes + 1] = halves[b]! >> 8;
  }
  return out;
}
