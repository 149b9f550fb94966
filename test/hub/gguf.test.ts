import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GGMLQuantizationType, gguf } from '@huggingface/gguf';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { folderSink } from '../../src/hub/byte_sink.js';
import { encoded, GGML_TYPES, type GgmlType } from '../../src/hub/gguf/types.js';
import { type GgufTensor, type GgufValue, writeGguf } from '../../src/hub/gguf/write.js';
import { f16ToF32 } from '../../src/hub/numbers.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-gguf-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A file, and what Hugging Face's reader finds in it. */
async function written(settings: Readonly<Record<string, GgufValue>>, tensors: readonly GgufTensor[]) {
  const path = join(folder, 'file.gguf');
  folderSink(folder).file('file.gguf', (sink) => writeGguf(sink, settings, tensors));
  return { bytes: readFileSync(path), ...(await gguf(path, { allowLocalFile: true })) };
}

const tensor = (name: string, shape: readonly number[], type: GgmlType, values: readonly number[]): GgufTensor => ({
  name,
  shape,
  type,
  data: () => encoded(Float32Array.from(values), type),
});

describe('a GGUF file', () => {
  it('holds settings of every type', async () => {
    const many = Array.from({ length: 20_000 }, (_, i) => `token ${i} Ġé😀`);
    const { metadata } = await written(
      {
        'general.architecture': { type: 'string', value: 'llama' },
        'a.u32': { type: 'u32', value: 4_000_000_000 },
        'a.i32': { type: 'i32', value: -5 },
        'a.f32': { type: 'f32', value: 1e-6 },
        'a.yes': { type: 'bool', value: true },
        'a.no': { type: 'bool', value: false },
        'a.empty': { type: 'string', value: '' },
        'a.strings': { type: 'strings', value: many },
        'a.i32s': { type: 'i32s', value: [1, -2, 3] },
      },
      [],
    );
    expect(metadata).toMatchObject({
      version: 3,
      tensor_count: 0n,
      kv_count: 9n,
      'general.architecture': 'llama',
      'a.u32': 4_000_000_000,
      'a.i32': -5,
      'a.f32': Math.fround(1e-6),
      'a.yes': true,
      'a.no': false,
      'a.empty': '',
      'a.strings': many,
      'a.i32s': [1, -2, 3],
    });
  });

  it('holds tensors of every type where it says they are', async () => {
    const values = Array.from({ length: 96 }, (_, i) => (i - 40) / 8);
    const tensors = (Object.keys(GGML_TYPES) as GgmlType[]).map((type) => tensor(`t.${type}`, [3, 32], type, values));
    const odd = tensor('odd', [5], 'F32', [1, 2, 3, 4, 5]);
    const { bytes, tensorInfos, tensorDataOffset } = await written({}, [odd, ...tensors]);
    expect(Number(tensorDataOffset) % 32).toBe(0);
    expect(bytes.length % 32).toBe(0);
    for (const { name, type, shape, data } of [odd, ...tensors]) {
      const info = tensorInfos.find((found) => found.name === name)!;
      expect(info.shape.map(Number)).toEqual(shape.toReversed());
      expect(GGMLQuantizationType[info.dtype]).toBe(type);
      const at = Number(tensorDataOffset + info.offset);
      expect(at % 32).toBe(0);
      const expected = data();
      expect([...bytes.subarray(at, at + expected.length)]).toEqual([...expected]);
    }
  });

  it('is not written of a tensor that has other bytes than its shape, or rows that are no whole blocks', async () => {
    await expect(written({}, [tensor('x', [2, 2], 'F32', [1, 2, 3])])).rejects.toThrow(
      /x has 12 bytes; its shape asks for 16/,
    );
    await expect(written({}, [tensor('x', [2, 16], 'Q8_0', Array(32).fill(1))])).rejects.toThrow(
      'x has rows of 16 values, which Q8_0 cannot hold; it takes 32 at a time.',
    );
  });
});

describe('Q8_0', () => {
  const decoded = (bytes: Uint8Array) => {
    const scale = f16ToF32(Uint16Array.of(bytes[0]! | (bytes[1]! << 8)))[0]!;
    return { scale, whole: [...new Int8Array(bytes.buffer, bytes.byteOffset + 2, 32)] };
  };

  it('is a scale and 32 whole numbers, halves away from zero', () => {
    const values = [127, -127, 63.5, 0.5, -0.5, 1.49, -1.51, ...Array<number>(25).fill(0)];
    const { scale, whole } = decoded(encoded(Float32Array.from(values), 'Q8_0'));
    expect(scale).toBe(1);
    expect(whole.slice(0, 8)).toEqual([127, -127, 64, 1, -1, 1, -2, 0]);
  });

  it('of zeros is zeros, and each block has its own scale', () => {
    const bytes = encoded(
      Float32Array.from({ length: 64 }, (_, i) => (i < 32 ? 0 : 254)),
      'Q8_0',
    );
    expect(decoded(bytes.subarray(0, 34))).toEqual({ scale: 0, whole: Array(32).fill(0) });
    expect(decoded(bytes.subarray(34).slice())).toEqual({ scale: 2, whole: Array(32).fill(127) });
  });

  it('is off by half a step at most, and by what the scale is rounded', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -100, max: 100, noNaN: true }), { minLength: 32, maxLength: 32 }),
        (given) => {
          const values = Float32Array.from(given);
          const { scale, whole } = decoded(encoded(values, 'Q8_0'));
          const largest = Math.max(...values.map(Math.abs));
          const slack = 127 * Math.max(scale * 2 ** -11, 2 ** -25);
          whole.forEach((n, i) => {
            expect(Math.abs(n * scale - values[i]!)).toBeLessThanOrEqual((largest / 127) * 0.5001 + slack);
          });
        },
      ),
    );
  });
});
