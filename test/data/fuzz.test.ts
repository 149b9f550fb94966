import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { collect } from '../../src/data/index.js';
import { TrainMoeError } from '../../src/errors.js';
import { tempFolder, texts } from './helpers.js';
import { parquetFile } from './parquet_writer.js';

const rows = ['one', 'two', 'x'.repeat(300), 'é😀'];
const jsonl = rows.map((text) => JSON.stringify({ text })).join('\n');

/** Valid files to damage: [name, bytes]. */
const whole: readonly (readonly [string, Buffer])[] = [
  ['a.parquet', parquetFile({ id: rows, text: rows }, { rowGroupRows: 2 })],
  ['a.parquet', parquetFile({ text: rows }, { gzip: true })],
  ['a.jsonl', Buffer.from(jsonl)],
  ['a.jsonl.gz', gzipSync(jsonl)],
  ['a.csv', Buffer.from(`id,text\n${rows.map((text, i) => `${i},"${text}"`).join('\r\n')}\n`)],
  ['a.txt.gz', gzipSync(jsonl)],
];

const damage = fc.record({
  file: fc.constantFrom(...whole),
  writes: fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 2 }),
  length: fc.option(fc.nat(), { freq: 1 }),
});

describe('damaged files', () => {
  test('end in well-formed text or in one error of ours that names the file', async () => {
    const folder = tempFolder();
    let refused = 0;
    let read = 0;
    await fc.assert(
      fc.asyncProperty(damage, async ({ file: [name, good], writes, length }) => {
        const bytes = Buffer.from(length === null ? good : good.subarray(0, length % (good.length + 1)));
        for (const [at, value] of writes) if (bytes.length > 0) bytes[at % bytes.length] = value;
        const file = path.join(folder, name);
        writeFileSync(file, bytes);
        try {
          for (const text of await texts(collect(file))) expect(text).not.toMatch(/\p{Surrogate}/u);
          read++;
        } catch (error) {
          expect(error).toBeInstanceOf(TrainMoeError);
          expect((error as TrainMoeError).code).toBe('bad-data');
          expect((error as TrainMoeError).message).toContain(file);
          refused++;
        }
        // With problems reported instead of thrown, nothing stops the run.
        await texts(collect(file, { onProblem: 'report' }));
      }),
      { numRuns: 400 },
    );
    expect(Math.min(read, refused)).toBeGreaterThan(5);
  });
});
