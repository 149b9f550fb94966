/**
 * Conversions between float32 and the narrower float types of model files, on bit patterns and in bulk.
 *
 * All of them round to nearest, ties to even. The loops work on the integer view of the float32 side: adding half of
 * the last kept place (less one when the kept part is even) lets the carry do the rounding, exponent included.
 */

const F32_INFINITY = 0x7f800000;

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** bfloat16 is the upper half of float32, so this is exact. */
export function bf16ToF32(source: Uint16Array, out = new Float32Array(source.length)): Float32Array {
  const bits = bitsOf(out);
  for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16;
  return out;
}

/** Values beyond the largest bfloat16 become infinite; a NaN stays one, made quiet. */
export function f32ToBf16(source: Float32Array, out = new Uint16Array(source.length)): Uint16Array {
  const bits = bitsOf(source);
  for (let i = 0; i < source.length; i++) {
    const u = bits[i]!;
    const nan = (u & 0x7fffffff) > F32_INFINITY;
    out[i] = nan ? (u >>> 16) | 0x40 : (u + 0x7fff + ((u >>> 16) & 1)) >>> 16;
  }
  return out;
}

/** Exact: every float16, subnormals included, is a normal float32. */
export function f16ToF32(source: Uint16Array, out = new Float32Array(source.length)): Float32Array {
  const bits = bitsOf(out);
  for (let i = 0; i < source.length; i++) {
    const h = source[i]!;
    const sign = (h & 0x8000) << 16;
    const magnitude = h & 0x7fff;
    if (magnitude >= 0x7c00) bits[i] = sign | F32_INFINITY | ((magnitude & 0x3ff) << 13);
    else if (magnitude >= 0x400) bits[i] = sign | ((magnitude << 13) + (112 << 23));
    else out[i] = sign === 0 ? magnitude * 2 ** -24 : -magnitude * 2 ** -24;
  }
  return out;
}

/** Values that round beyond 65504 become infinite; a NaN stays one, made quiet. */
export function f32ToF16(source: Float32Array, out = new Uint16Array(source.length)): Uint16Array {
  const bits = bitsOf(source);
  for (let i = 0; i < source.length; i++) {
    const u = bits[i]!;
    const sign = (u >>> 16) & 0x8000;
    const magnitude = u & 0x7fffffff;
    if (magnitude > F32_INFINITY) out[i] = sign | 0x7e00 | ((magnitude >>> 13) & 0x3ff);
    else if (magnitude >= 0x477ff000) out[i] = sign | 0x7c00;
    else if (magnitude >= 0x38800000) {
      out[i] = sign | ((magnitude + 0xfff + ((magnitude >>> 13) & 1) - (112 << 23)) >>> 13);
    } else out[i] = sign | roundedMultiple(Math.abs(source[i]!) * 2 ** 24);
  }
  return out;
}

/** Rounds 0 <= x < 2^22 to an integer, ties to even: beside 1.5 * 2^52 a double has no fraction bits left. */
function roundedMultiple(x: number): number {
  return x + 6755399441055744 - 6755399441055744;
}

/** What to do with a float that lies beyond the largest E4M3 value, 448. */
export interface E4m3Options {
  /**
   * True (the default) gives +-448, as the FP8 conversion of GPUs that DeepSeek's kernels use does; false gives NaN
   * where rounding passes 448, as a cast in torch does. Inputs scaled to a largest magnitude of 448 never differ.
   */
  readonly saturate?: boolean;
}

const E4M3_NAN = 0x7f;
const E4M3_MAX = 0x7e;

/** FP8 with 4 exponent bits (bias 7), 3 mantissa bits, no infinities: Micikevicius et al., arXiv:2209.05433. */
export function f32ToE4m3(
  source: Float32Array,
  out = new Uint8Array(source.length),
  { saturate = true }: E4m3Options = {},
): Uint8Array {
  const bits = bitsOf(source);
  const beyond = saturate ? E4M3_MAX : E4M3_NAN;
  for (let i = 0; i < source.length; i++) {
    const u = bits[i]!;
    const sign = (u >>> 24) & 0x80;
    const magnitude = u & 0x7fffffff;
    if (magnitude > F32_INFINITY) out[i] = sign | E4M3_NAN;
    else if (magnitude < 0x3c800000) out[i] = sign | roundedMultiple(Math.abs(source[i]!) * 512);
    else {
      const code = (magnitude + 0x7ffff + ((magnitude >>> 20) & 1) - (120 << 23)) >>> 20;
      out[i] = sign | (code > E4M3_MAX ? beyond : code);
    }
  }
  return out;
}

/** The values of all 256 codes of an 8-bit float with the given widths; `special` says what the topmost codes mean. */
function codeTable(mantissaBits: number, bias: number, special: (magnitude: number) => number | undefined) {
  return Float32Array.from({ length: 256 }, (_, code) => {
    const magnitude = code & 0x7f;
    const exponent = magnitude >> mantissaBits;
    const mantissa = (magnitude & ((1 << mantissaBits) - 1)) / 2 ** mantissaBits;
    const value = exponent === 0 ? mantissa * 2 ** (1 - bias) : (1 + mantissa) * 2 ** (exponent - bias);
    return (special(magnitude) ?? value) * (code < 0x80 ? 1 : -1);
  });
}

const E4M3_VALUES = codeTable(3, 7, (magnitude) => (magnitude === E4M3_NAN ? Number.NaN : undefined));
const E5M2_VALUES = codeTable(2, 15, (magnitude) => {
  if (magnitude < 0x7c) return undefined;
  return magnitude === 0x7c ? Number.POSITIVE_INFINITY : Number.NaN;
});

export function e4m3ToF32(source: Uint8Array, out = new Float32Array(source.length)): Float32Array {
  for (let i = 0; i < source.length; i++) out[i] = E4M3_VALUES[source[i]!]!;
  return out;
}

/** FP8 with 5 exponent bits and 2 mantissa bits: the upper half of float16. */
export function e5m2ToF32(source: Uint8Array, out = new Float32Array(source.length)): Float32Array {
  for (let i = 0; i < source.length; i++) out[i] = E5M2_VALUES[source[i]!]!;
  return out;
}

/** A matrix [rows, columns] as [columns, rows]. */
export function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = values[r * columns + c]!;
  return out;
}
