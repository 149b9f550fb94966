import { TrainMoeError } from '../../errors.js';
import type { ByteSink } from '../byte_sink.js';
import { GGML_TYPES, type GgmlType } from './types.js';

/**
 * GGUF, version 3: the file that llama.cpp reads, and all that is built on it. A header of settings by name, then where each tensor
 * lies, then their bytes, aligned to 32. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */

/** A setting. Numbers say their width, since readers insist on it. */
export type GgufValue =
  | { readonly type: 'u32' | 'i32' | 'f32'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'i32s'; readonly value: readonly number[] };

/** A tensor to be written; the last size of its shape is the one whose values lie side by side. */
export interface GgufTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: GgmlType;
  /** The bytes, asked for once and in the order of the tensors. */
  readonly data: () => Uint8Array;
}

const VERSION = 3;
const ALIGNMENT = 32;
const TYPE_IDS = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;

/** @throws TrainMoeError `bad-data` when a tensor gives other than the bytes of its shape, or its rows are no whole blocks */
export function writeGguf(
  sink: ByteSink,
  settings: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensor[],
): void {
  const header = new Bytes();
  header.text('GGUF').u32(VERSION).u64(tensors.length).u64(Object.keys(settings).length);
  for (const [name, value] of Object.entries(settings)) writeSetting(header.string(name), value);
  let offset = 0;
  for (const tensor of tensors) {
    const { name, shape, type } = tensor;
    header.string(name).u32(shape.length);
    for (const size of shape.toReversed()) header.u64(size);
    header.u32(GGML_TYPES[type].id).u64(offset);
    offset += aligned(bytesOf(tensor));
  }
  sink(header.whole(), 'header');
  sink(padding(header.length), 'header');
  for (const tensor of tensors) {
    const bytes = tensor.data();
    const expected = bytesOf(tensor);
    if (bytes.length !== expected)
      throw new TrainMoeError('bad-data', `${tensor.name} has ${bytes.length} bytes; its shape asks for ${expected}.`);
    sink(bytes, tensor.name);
    sink(padding(bytes.length), tensor.name);
  }
}

function writeSetting(to: Bytes, setting: GgufValue): void {
  switch (setting.type) {
    case 'strings':
      to.u32(TYPE_IDS.array).u32(TYPE_IDS.string).u64(setting.value.length);
      for (const text of setting.value) to.string(text);
      return;
    case 'i32s':
      to.u32(TYPE_IDS.array).u32(TYPE_IDS.i32).u64(setting.value.length);
      for (const value of setting.value) to.i32(value);
      return;
    case 'bool':
      to.u32(TYPE_IDS.bool).u8(Number(setting.value));
      return;
    case 'string':
      to.u32(TYPE_IDS.string).string(setting.value);
      return;
    default:
      to.u32(TYPE_IDS[setting.type])[setting.type](setting.value);
  }
}

function bytesOf({ name, shape, type }: GgufTensor): number {
  const { block, bytes } = GGML_TYPES[type];
  const row = shape.at(-1) ?? 1;
  if (row % block !== 0)
    throw new TrainMoeError(
      'bad-data',
      `${name} has rows of ${row} values, which ${type} cannot hold; it takes ${block} at a time.`,
    );
  return (shape.reduce((product, size) => product * size, 1) / block) * bytes;
}

const aligned = (length: number): number => Math.ceil(length / ALIGNMENT) * ALIGNMENT;
const padding = (length: number): Uint8Array => new Uint8Array(aligned(length) - length);

/** Little-endian bytes, as they are written one after the other. */
class Bytes {
  private buffer = new DataView(new ArrayBuffer(1 << 16));
  length = 0;

  whole(): Uint8Array {
    return new Uint8Array(this.buffer.buffer, 0, this.length);
  }

  text(text: string): this {
    const bytes = Buffer.from(text);
    const at = this.grow(bytes.length);
    new Uint8Array(this.buffer.buffer).set(bytes, at);
    return this;
  }

  string(text: string): this {
    return this.u64(Buffer.byteLength(text)).text(text);
  }

  u8(value: number): this {
    const at = this.grow(1);
    this.buffer.setUint8(at, value);
    return this;
  }

  u32(value: number): this {
    const at = this.grow(4);
    this.buffer.setUint32(at, value, true);
    return this;
  }

  i32(value: number): this {
    const at = this.grow(4);
    this.buffer.setInt32(at, value, true);
    return this;
  }

  f32(value: number): this {
    const at = this.grow(4);
    this.buffer.setFloat32(at, value, true);
    return this;
  }

  u64(value: number): this {
    const at = this.grow(8);
    this.buffer.setBigUint64(at, BigInt(value), true);
    return this;
  }

  /** Where `bytes` more begin. */
  private grow(bytes: number): number {
    const at = this.length;
    this.length += bytes;
    if (this.length > this.buffer.byteLength) {
      const larger = new Uint8Array(2 ** Math.ceil(Math.log2(this.length + 1)));
      larger.set(new Uint8Array(this.buffer.buffer, 0, at));
      this.buffer = new DataView(larger.buffer);
    }
    return at;
  }
}
