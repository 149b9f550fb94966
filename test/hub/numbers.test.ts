import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ACTIVATION_BLOCK,
  type BlockShape,
  blockCounts,
  dequantiseBlocks,
  quantiseBlocks,
  WEIGHT_BLOCK,
} from '../../src/hub/blocks.js';
import { asArray } from '../../src/hub/dtype.js';
import { bf16ToF32, e4m3ToF32, e5m2ToF32, f16ToF32, f32ToBf16, f32ToE4m3, f32ToF16 } from '../../src/hub/numbers.js';
import { openSafetensors } from '../../src/hub/safetensors.js';
import { sharedPath } from '../shared.js';
import { thrown } from './memory.js';

/** Every code of a type in order of value, from zero up to its largest finite one. */
interface NarrowFloat {
  readonly name: string;
  readonly bits: number;
  readonly exponentBits: number;
  readonly mantissaBits: number;
  readonly finiteCodes: number;
  readonly encode: (values: Float32Array) => ArrayLike<number>;
  readonly decode: (codes: number[]) => Float32Array;
}

const TYPES: readonly NarrowFloat[] = [
  {
    name: 'bf16',
    bits: 16,
    exponentBits: 8,
    mantissaBits: 7,
    finiteCodes: 0x7f80,
    encode: (v) => f32ToBf16(v),
    decode: (c) => bf16ToF32(Uint16Array.from(c)),
  },
  {
    name: 'f16',
    bits: 16,
    exponentBits: 5,
    mantissaBits: 10,
    finiteCodes: 0x7c00,
    encode: (v) => f32ToF16(v),
    decode: (c) => f16ToF32(Uint16Array.from(c)),
  },
  {
    name: 'e4m3',
    bits: 8,
    exponentBits: 4,
    mantissaBits: 3,
    finiteCodes: 0x7f,
    encode: (v) => f32ToE4m3(v, undefined, { saturate: false }),
    decode: (c) => e4m3ToF32(Uint8Array.from(c)),
  },
];

/** The definition of IEEE-754 formats, in doubles: (-1)^s * 2^(e-bias) * 1.m, without the hidden one when e = 0. */
function definition({ bits, exponentBits, mantissaBits }: NarrowFloat, code: number): number {
  const sign = code >> (bits - 1) ? -1 : 1;
  const exponent = (code >> mantissaBits) & (2 ** exponentBits - 1);
  const fraction = (code & (2 ** mantissaBits - 1)) / 2 ** mantissaBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  return exponent === 0 ? sign * fraction * 2 ** (1 - bias) : sign * (1 + fraction) * 2 ** (exponent - bias);
}

const f32Bits = (bits: number) => new Float32Array(Uint32Array.of(bits).buffer)[0]!;

describe.each(TYPES)('$name', (type) => {
  const positive = Array.from({ length: type.finiteCodes }, (_, code) => code);
  const signBit = 1 << (type.bits - 1);

  it('decodes every finite code to its definition', () => {
    const codes = [...positive, ...positive.map((code) => code | signBit)];
    const decoded = type.decode(codes);
    const wrong = codes.filter((code, i) => !Object.is(decoded[i], definition(type, code)));
    expect(wrong).toEqual([]);
  });

  it('encodes every finite code back to itself', () => {
    const codes = [...positive, ...positive.map((code) => code | signBit)];
    expect(Array.from(type.encode(type.decode(codes)))).toEqual(codes);
  });

  it('rounds to the nearest code, and to the even one from the middle', () => {
    const values = type.decode(positive);
    const middles: number[] = [];
    const wanted: number[] = [];
    for (let code = 0; code + 1 < positive.length; code++) {
      const middle = Math.fround((values[code]! + values[code + 1]!) / 2);
      // The middle of the two smallest bfloat16 numbers is not a float32: those steps have nothing to round.
      if ((values[code]! + values[code + 1]!) / 2 !== middle) continue;
      const bits = new Uint32Array(Float32Array.of(middle).buffer)[0]!;
      middles.push(f32Bits(bits - 1), middle, f32Bits(bits + 1));
      wanted.push(code, code + (code & 1), code + 1);
    }
    expect(middles.length).toBeGreaterThan(300);
    expect(Array.from(type.encode(Float32Array.from(middles)))).toEqual(wanted);
    const mirrored = wanted.map((code) => code | signBit);
    expect(Array.from(type.encode(Float32Array.from(middles, (x) => -x)))).toEqual(mirrored);
  });

  it('keeps NaN a NaN, whichever bits it has', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0x7f800001, max: 0x7fffffff }), fc.boolean(), (bits, negative) => {
        const nan = new Float32Array(Uint32Array.of(negative ? bits | 0x80000000 : bits).buffer);
        expect(type.decode(Array.from(type.encode(nan)))[0]).toBeNaN();
      }),
    );
  });
});

describe('beyond the largest value', () => {
  it('bfloat16 and float16 become infinite', () => {
    const big = Float32Array.of(3.4e38, f32Bits(0x7f7f8000), Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY);
    expect([...bf16ToF32(f32ToBf16(big))].map(Math.sign)).toEqual([1, 1, 1, -1]);
    expect(bf16ToF32(f32ToBf16(big))[1]).toBe(Number.POSITIVE_INFINITY);
    const half = [...f16ToF32(f32ToF16(Float32Array.of(65504, 65519.99, 65520, -1e9)))];
    expect(half).toEqual([65504, 65504, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
  });

  it('E4M3 saturates like the GPU, or turns into NaN like a torch cast when asked', () => {
    const values = Float32Array.of(448, 464, 464.001, 480, 1e30, Number.NEGATIVE_INFINITY);
    expect([...e4m3ToF32(f32ToE4m3(values))]).toEqual([448, 448, 448, 448, 448, -448]);
    expect([...f32ToE4m3(values, undefined, { saturate: false })]).toEqual([0x7e, 0x7e, 0x7f, 0x7f, 0x7f, 0xff]);
  });

  it('E5M2 is the upper byte of float16', () => {
    const codes = Uint8Array.from({ length: 256 }, (_, i) => i);
    const half = f16ToF32(Uint16Array.from(codes, (code) => code << 8));
    expect(e5m2ToF32(codes)).toEqual(half);
  });
});

describe('block quantisation', () => {
  const matrix = fc
    .record({ rows: fc.integer({ min: 1, max: 9 }), cols: fc.integer({ min: 1, max: 9 }) })
    .chain((size) =>
      fc.record({
        ...{ rows: fc.constant(size.rows), cols: fc.constant(size.cols) },
        values: fc.float32Array({
          minLength: size.rows * size.cols,
          maxLength: size.rows * size.cols,
          noNaN: true,
          max: 2 ** 100,
          min: -(2 ** 100),
        }),
        block: fc.record({ rows: fc.integer({ min: 1, max: 4 }), cols: fc.integer({ min: 1, max: 4 }) }),
      }),
    );

  it('keeps every value within half a step of its block, ragged edges included', () => {
    fc.assert(
      fc.property(matrix, ({ rows, cols, values, block }) => {
        const quantised = quantiseBlocks(values, rows, cols, block);
        const back = dequantiseBlocks(quantised, rows, cols, block);
        const [, across] = blockCounts(rows, cols, block);
        for (const [i, value] of values.entries()) {
          const scale =
            quantised.scales[Math.floor(i / cols / block.rows) * across + Math.floor((i % cols) / block.cols)]!;
          // Three mantissa bits: half a step is 1/16 of the value, or 2^-10 scales among the subnormals.
          expect(Math.abs(back[i]! - value)).toBeLessThanOrEqual(Math.max(Math.abs(value) / 15.99, scale * 2 ** -9.99));
        }
      }),
    );
  });

  it('of zeros gives zeros, and of a NaN gives NaN', () => {
    expect([...dequantiseBlocks(quantiseBlocks(new Float32Array(6), 2, 3), 2, 3)]).toEqual([0, 0, 0, 0, 0, 0]);
    const { scales } = quantiseBlocks(Float32Array.of(1, Number.NaN, 3), 1, 3);
    expect(scales[0]).toBeNaN();
  });

  it('names sizes that do not fit', () => {
    expect(thrown(() => quantiseBlocks(new Float32Array(5), 2, 3)).message).toContain('has 5 elements');
    const odd = { codes: new Uint8Array(6), scales: new Float32Array(2) };
    expect(thrown(() => dequantiseBlocks(odd, 2, 3)).message).toContain('scales has 2 elements');
  });

  const path = sharedPath('golden/fp8.safetensors');
  it.skipIf(!path).each([
    ['weight', 'weight_scale_inv', WEIGHT_BLOCK],
    ['activation', 'activation_scale', ACTIVATION_BLOCK],
  ] as const)('of the golden %s has the same bytes (needs ../shared)', (name, scaleName, block: BlockShape) => {
    const file = openSafetensors(path!);
    const bytes = (tensor: string) => file.tensors.get(tensor)!.read();
    const [rows, cols] = file.tensors.get(name)!.shape as [number, number];
    const original = asArray('F32', bytes(`${name}_original`));
    const quantised = quantiseBlocks(original, rows, cols, block);
    expect(quantised.codes).toEqual(bytes(name));
    expect(quantised.scales).toEqual(asArray('F32', bytes(scaleName)));
    expect(dequantiseBlocks(quantised, rows, cols, block)).toEqual(asArray('F32', bytes(`${name}_dequantised`)));
    file.close();
  });
});
