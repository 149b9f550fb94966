import { readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../../../src/train/run/crc32c.js';
import { openTensorBoard } from '../../../src/train/run/tensorboard.js';
import { thrown } from '../../hub/memory.js';
import { temporaryFolder } from '../../hub/temporary.js';

/** CRC-32C bit by bit from its definition: no table, and not the code under test. */
function referenceCrc(bytes: Uint8Array): number {
  let crc = 0xffffffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ 0x82f63b78n : crc >> 1n;
  }
  return Number(crc ^ 0xffffffffn);
}

/** The data of all records, after checking both checksums as TensorFlow's reader does: by taking the mask off. */
function readRecords(file: Buffer): Buffer[] {
  const records: Buffer[] = [];
  const check = (data: Buffer, stored: number) => {
    const rotated = (stored - 0xa282ead8) >>> 0;
    expect(((rotated >>> 17) | (rotated << 15)) >>> 0).toBe(referenceCrc(data));
  };
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    check(file.subarray(at, at + 8), file.readUInt32LE(at + 8));
    const data = file.subarray(at + 12, at + 12 + length);
    check(data, file.readUInt32LE(at + 12 + length));
    records.push(data);
    at += 16 + length;
  }
  return records;
}

type Decoded = Map<number, (number | bigint | Buffer)[]>;

/** Any protobuf message: field number to its values, undecoded where they have a length. */
function decode(bytes: Buffer): Decoded {
  const fields: Decoded = new Map();
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++]!;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const read = (wireType: number): number | bigint | Buffer => {
    if (wireType === 0) return varint();
    expect([1, 2, 5]).toContain(wireType);
    const length = wireType === 1 ? 8 : wireType === 5 ? 4 : Number(varint());
    at += length;
    if (wireType === 1) return bytes.readDoubleLE(at - length);
    if (wireType === 5) return bytes.readFloatLE(at - length);
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const key = Number(varint());
    fields.set(key >> 3, [...(fields.get(key >> 3) ?? []), read(key & 7)]);
  }
  expect(at).toBe(bytes.length);
  return fields;
}

const inner = (message: Decoded, field: number, index = 0) => decode(message.get(field)![index] as Buffer);
const text = (message: Decoded, field: number) => (message.get(field)![0] as Buffer).toString();
const events = (path: string) => readRecords(readFileSync(path)).map(decode);

describe('CRC-32C', () => {
  // RFC 3720, appendix B.4, and the usual check string.
  it.each([
    ['32 zeros', new Uint8Array(32), 0x8a9136aa],
    ['32 times 0xff', new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ['0 to 31', Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
    ['31 to 0', Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
    ['123456789', Buffer.from('123456789'), 0xe3069283],
    ['nothing', new Uint8Array(0), 0],
  ])('of %s is the published one', (_, bytes, crc) => {
    expect(crc32c(bytes)).toBe(crc);
    expect(referenceCrc(bytes)).toBe(crc);
  });

  it('may be taken in pieces', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
        expect(crc32c(b, crc32c(a))).toBe(referenceCrc(Buffer.concat([a, b])));
      }),
    );
  });
});

describe('a TensorBoard event file', () => {
  it('begins with its version and holds scalars with step and time', () => {
    const board = openTensorBoard(temporaryFolder(), { now: () => 1234.5 });
    expect(basename(board.path)).toMatch(/^events\.out\.tfevents\.0000001234\./);
    board.scalars(3, { 'train/loss': 2.25, 'train/näh': Number.NaN });
    board.scalars(2 ** 40 + 1, { x: -1e30 });
    board.close();
    const [version, first, second] = events(board.path);
    expect(version!.get(1)).toEqual([1234.5]);
    expect(text(version!, 3)).toBe('brain.Event:2');
    expect(first!.get(1)).toEqual([1234.5]);
    expect(first!.get(2)).toEqual([3n]);
    const values = [0, 1].map((i) => inner(inner(first!, 5), 1, i));
    expect(values.map((value) => [text(value, 1), value.get(2)![0]])).toEqual([
      ['train/loss', 2.25],
      ['train/näh', Number.NaN],
    ]);
    expect(second!.get(2)).toEqual([2n ** 40n + 1n]);
    expect(inner(inner(second!, 5), 1).get(2)).toEqual([Math.fround(-1e30)]);
  });

  it('holds text as a string tensor for the text panel', () => {
    const board = openTensorBoard(temporaryFolder());
    const markdown = `# Sample\n${'long '.repeat(100)}`;
    board.text(7, 'samples', markdown);
    board.close();
    const event = events(board.path)[1]!;
    expect(event.get(2)).toEqual([7n]);
    const value = inner(inner(event, 5), 1);
    expect(text(value, 1)).toBe('samples');
    expect(text(inner(inner(value, 9), 1), 1)).toBe('text');
    const tensor = inner(value, 8);
    expect(tensor.get(1)).toEqual([7n]);
    expect(inner(inner(tensor, 2), 2).get(1)).toEqual([1n]);
    expect(text(tensor, 8)).toBe(markdown);
  });

  it('of a resumed run hides the steps that come again', () => {
    const board = openTensorBoard(temporaryFolder(), { purgeFrom: 100 });
    board.close();
    const [, session] = events(board.path);
    expect(session!.get(2)).toEqual([100n]);
    expect(inner(session!, 7).get(1)).toEqual([1n]);
  });

  it('is another one each time, even within a second, and grows with every call', () => {
    const folder = temporaryFolder();
    const [a, b] = [openTensorBoard(folder), openTensorBoard(folder)];
    expect(a.path).not.toBe(b.path);
    const before = statSync(a.path).size;
    a.scalars(1, { x: 1 });
    expect(statSync(a.path).size).toBeGreaterThan(before);
    a.sync();
    for (const board of [a, b]) board.close();
  });

  it('refuses steps that are none, and names a folder that cannot be', () => {
    const board = openTensorBoard(temporaryFolder());
    expect(thrown(() => board.scalars(-1, {})).message).toContain('-1');
    expect(thrown(() => board.scalars(0.5, {})).code).toBe('bad-argument');
    board.close();
    expect(thrown(() => openTensorBoard('/dev/null/board')).message).toContain('/dev/null/board');
  });
});
