import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Chunk, readChunks, splitLines } from '../../src/data/collect/bytes.js';
import { all, tempFolder } from './helpers.js';

async function* chunked(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Chunk> {
  const points = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  for (let i = 1; i < points.length; i++) {
    yield { bytes: bytes.subarray(points[i - 1], points[i]), offset: points[i - 1]! };
  }
}

describe('splitLines', () => {
  test('gives the same lines and offsets however the bytes are chunked', async () => {
    const content = fc.array(fc.constantFrom('a', 'bc', '\n', '\r\n', '\r', 'é'), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(content, fc.array(fc.nat(60), { maxLength: 8 }), async (pieces, cuts) => {
        const bytes = Buffer.from(pieces.join(''));
        const lines = (await all(splitLines(chunked(bytes, cuts), 'f'))).flat();
        const expected = bytes.toString('latin1').split('\n');
        if (expected[expected.length - 1] === '') expected.pop();
        expect(lines.map((line) => line.bytes.toString('latin1'))).toEqual(expected.map((l) => l.replace(/\r$/, '')));
        let offset = 0;
        expected.forEach((line, i) => {
          expect([lines[i]!.offset, lines[i]!.number]).toEqual([offset, i + 1]);
          offset += line.length + 1;
        });
      }),
      { numRuns: 500 },
    );
  });

  test('refuses a line longer than the limit with its place', async () => {
    const source = chunked(Buffer.from(`ok\n${'x'.repeat(100)}`), [10, 40]);
    await expect(all(splitLines(source, 'big.jsonl', 64))).rejects.toThrow(
      /big\.jsonl:2: the line that starts at byte 3/,
    );
  });
});

describe('readChunks', () => {
  const read = async (file: string, gzip = false) => {
    const chunks = await all(readChunks(file, gzip));
    return { text: Buffer.concat(chunks.map((chunk) => chunk.bytes)).toString(), first: chunks[0]?.offset };
  };

  test('drops a byte order mark and keeps offsets those of the file', async () => {
    const folder = tempFolder({ a: '\ufeffhello', empty: '', bom: '\ufeff', 'a.gz': gzipSync('\ufeffzip') });
    expect(await read(path.join(folder, 'a'))).toEqual({ text: 'hello', first: 3 });
    expect(await read(path.join(folder, 'empty'))).toEqual({ text: '', first: undefined });
    expect(await read(path.join(folder, 'bom'))).toEqual({ text: '', first: undefined });
    expect(await read(path.join(folder, 'a.gz'), true)).toEqual({ text: 'zip', first: 3 });
  });

  test('reads several gzip members as one stream', async () => {
    const folder = tempFolder();
    const file = path.join(folder, 'two.gz');
    writeFileSync(file, Buffer.concat([gzipSync('one\n'), gzipSync('two\n')]));
    expect((await read(file, true)).text).toBe('one\ntwo\n');
  });

  test.each([
    ['UTF-16LE', [0xff, 0xfe, 0x61, 0x00]],
    ['UTF-16BE', [0xfe, 0xff, 0x00, 0x61]],
    ['UTF-32LE', [0xff, 0xfe, 0x00, 0x00]],
  ])('names %s instead of decoding it as UTF-8', async (name, bytes) => {
    const folder = tempFolder({ 'wide.txt': Uint8Array.from(bytes) });
    await expect(read(path.join(folder, 'wide.txt'))).rejects.toThrow(
      `byte order mark of ${name}; convert it to UTF-8`,
    );
  });
});
