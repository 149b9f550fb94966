import { rmSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { collect } from '../../src/data/index.js';
import type { TextStage } from '../../src/data/types.js';
import { all, tempFolder, texts } from './helpers.js';
import { parquetFile } from './parquet_writer.js';

describe('plain text', () => {
  const one = (content: string | Uint8Array, options = {}, name = 'a.txt') => {
    const folder = tempFolder({ [name]: content });
    return collect(path.join(folder, name), { dedup: false, ...options });
  };

  test('a small file is one document; CRLF becomes LF; NUL stays and is counted', async () => {
    const collection = one('\ufeffone\r\ntwo\0\r\n');
    expect(await texts(collection)).toEqual(['one\ntwo\0\n']);
    expect(collection.report).toMatchObject({ files: 1, documents: 1, bytes: 9, crlf: 2, nul: 1, repairs: 0 });
  });

  test('parts are cut at blank lines, have true offsets, and joined again are the file', async () => {
    const paragraph = fc.string({ unit: fc.constantFrom('a', 'é', '\n', ' '), maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(paragraph, { maxLength: 12 }),
        fc.integer({ min: 1, max: 24 }),
        async (parts, bytes) => {
          const content = parts.join('\n\n');
          const documents = await all(one(content, { textUnit: { bytes } }).documents());
          const raw = Buffer.from(content);
          for (const document of documents) {
            const size = Buffer.byteLength(document.text);
            expect(raw.toString('utf8', document.offset, document.offset + size)).toBe(document.text);
            const end = document.offset + size;
            if (end < raw.length) expect(document.text.endsWith('\n\n')).toBe(true);
            if (end < raw.length) expect(size).toBeGreaterThanOrEqual(bytes);
          }
          expect(
            documents
              .map((d) => d.text)
              .join('')
              .replace(/\s/g, ''),
          ).toBe(content.replace(/\s/g, ''));
        },
      ),
      { numRuns: 200 },
    );
  });

  test('a giant line without any blank is cut between characters and nothing is lost', async () => {
    const content = 'é'.repeat(5_000_000);
    const got = await texts(one(content));
    expect(got.length).toBe(3);
    expect(got.join('') === content).toBe(true);
  });

  test('a giant line with spaces is cut at a space', async () => {
    const content = 'word '.repeat(2_000_000);
    const got = await texts(one(content));
    expect(got.every((text) => text.startsWith('word') && text.endsWith(' '))).toBe(true);
    expect(got.join('') === content).toBe(true);
  });

  test.each([
    ['file', ['a\nb\n\n\nc\n']],
    ['line', ['a', 'b', 'c']],
    ['paragraph', ['a\nb', 'c']],
  ] as const)('textUnit %s', async (textUnit, expected) => {
    expect(await texts(one('a\nb\n\n\nc\n', { textUnit }))).toEqual(expected);
    expect(await texts(one('a\r\nb\r\n\r\n\r\nc\r\n', { textUnit }))).toEqual(expected);
  });

  test.each([0, -1, Number.NaN, 2 ** 40])('parts of %s bytes are refused', async (bytes) => {
    await expect(texts(one('a', { textUnit: { bytes } }))).rejects.toThrow(
      /textUnit asks for parts of .* bytes, expected/,
    );
  });

  test('empty and blank files give no document', async () => {
    const collection = one(' \n\t\n');
    expect(await texts(collection)).toEqual([]);
    expect(collection.report.empty).toBe(1);
    expect(await texts(one(''))).toEqual([]);
  });

  test('bad UTF-8 is replaced and reported with its offset in the file', async () => {
    const collection = one(Buffer.concat([Buffer.from('\ufeffab'), Buffer.from([0xff]), Buffer.from('c')]));
    expect(await texts(collection)).toEqual(['ab\ufffdc']);
    expect(collection.report.repairs).toBe(1);
    expect(collection.report.problems[0]).toMatchObject({ kind: 'utf8', offset: 5 });
  });

  test('reads compressed text; a second pass gives the same and a fresh report', async () => {
    const collection = one(gzipSync('hello'), {}, 'a.md.gz');
    expect(await texts(collection)).toEqual(['hello']);
    expect(await texts(collection)).toEqual(['hello']);
    expect(collection.report.documents).toBe(1);
  });
});

describe('JSON Lines', () => {
  const lines = (content: string | Uint8Array, options = {}) => {
    const folder = tempFolder({ 'a.jsonl': content });
    return collect(path.join(folder, 'a.jsonl'), options);
  };

  test('BOM, CRLF, blank lines, no last line end, escapes, null', async () => {
    const content = '\ufeff{"text":"a\\u0000b"}\r\n\r\n{"text":null}\n{"text":"\\ud83d\\ude00"}';
    const collection = lines(content);
    const documents = await all(collection.documents());
    expect(documents.map((d) => [d.text, d.offset])).toEqual([
      ['a\0b', 3],
      ['\u{1f600}', content.indexOf('{"text":"\\ud8') + 2],
    ]);
    expect(collection.report).toMatchObject({ empty: 1, nul: 1, repairs: 0 });
  });

  test('lone surrogates and bad bytes are replaced and counted', async () => {
    const bytes = Buffer.concat([
      Buffer.from('{"text":"x\\ud800"}\n{"text":"'),
      Buffer.from([0xc3]),
      Buffer.from('y"}'),
    ]);
    const collection = lines(bytes);
    expect(await texts(collection)).toEqual(['x\ufffd', '\ufffdy']);
    expect(collection.report.problems.map((p) => [p.kind, p.offset])).toEqual([
      ['surrogate', 0],
      ['utf8', 28],
    ]);
  });

  test.each([
    ['{"body":"x","id":1}', /a\.jsonl:2: there is no field "text" \(fields found: "body", "id"\); name the one/],
    ['{"text":5}', /a\.jsonl:2: the field "text" holds a number, expected a string/],
    ['[1]', /a\.jsonl:2: expected a JSON object with the field "text", found an array/],
    ['{"text":"cut', /a\.jsonl:2: the line is not JSON/],
  ])('%s is named with file and line, or left out and counted', async (line, sentence) => {
    const content = `{"text":"first"}\n${line}\n{"text":"third"}\n`;
    await expect(texts(lines(content))).rejects.toThrow(sentence);
    const lenient = lines(content, { onProblem: 'report' });
    expect(await texts(lenient)).toEqual(['first', 'third']);
    expect(lenient.report.problems).toHaveLength(1);
    expect(lenient.report.problems[0]).toMatchObject({ kind: 'bad-record', line: 2, offset: 17 });
  });

  test('the field is an option, and names of Object.prototype are no fields', async () => {
    expect(await texts(lines('{"body":"x"}', { field: 'body' }))).toEqual(['x']);
    await expect(texts(lines('{"a":1}', { field: 'constructor' }))).rejects.toThrow(/no field "constructor"/);
  });

  test('a giant line', async () => {
    const text = 'é'.repeat(4_000_000);
    const got = await texts(lines(`{"text":"small"}\n${JSON.stringify({ text })}\n{"text":"after"}\n`));
    expect(got.map((t) => t.length)).toEqual([5, 4_000_000, 5]);
    expect(got[1] === text).toBe(true);
  });

  test('truncated gzip: what came before is delivered, the error names the file, the next file is read', async () => {
    const rows = Array.from({ length: 20_000 }, (_, i) => JSON.stringify({ text: `row ${i} ${Math.sin(i)}` }));
    const whole = gzipSync(rows.join('\n'));
    const folder = tempFolder({ 'a.jsonl.gz': whole.subarray(0, whole.length / 2), 'b.jsonl': '{"text":"next"}' });
    const strict = collect(folder);
    const got: string[] = [];
    const drain = async () => {
      for await (const document of strict.documents()) got.push(document.text);
    };
    await expect(drain()).rejects.toThrow(/a\.jsonl\.gz cannot be read to its end: unexpected end of file/);
    expect(got.length).toBeGreaterThan(5_000);
    expect(got).toEqual(rows.slice(0, got.length).map((row) => JSON.parse(row).text));

    const lenient = collect(folder, { onProblem: 'report' });
    const most = await texts(lenient);
    expect(most.slice(0, got.length)).toEqual(got);
    expect(most[most.length - 1]).toBe('next');
    expect(lenient.report.problems.some((p) => p.kind === 'bad-file' && p.file.endsWith('a.jsonl.gz'))).toBe(true);
  });

  test('a file that is no gzip', async () => {
    const folder = tempFolder({ 'a.txt.gz': 'plain' });
    await expect(texts(collect(folder))).rejects.toThrow(
      /a\.txt\.gz cannot be read to its end: incorrect header check/,
    );
  });

  test('a file that vanishes after listing', async () => {
    const folder = tempFolder({ 'a.txt': 'a', 'b.txt': 'b' });
    const collection = collect(folder, { onProblem: 'report' });
    rmSync(path.join(folder, 'a.txt'));
    expect(await texts(collection)).toEqual(['b']);
    expect(collection.report.problems[0]!.message).toMatch(/a\.txt cannot be read to its end: ENOENT/);
  });
});

describe('CSV', () => {
  const table = (content: string | Uint8Array, options = {}, name = 'a.csv') => {
    const folder = tempFolder({ [name]: content });
    return collect(path.join(folder, name), options);
  };

  test('quotes, line ends in fields, CRLF, BOM, non-ASCII, offsets', async () => {
    const content = '\ufeffid,text\r\n1,"a ""b""\nc"\r\n2,é😀\r\n\r\n';
    const collection = table(content);
    const documents = await all(collection.documents());
    expect(documents.map((d) => d.text)).toEqual(['a "b"\nc', 'é😀']);
    const raw = Buffer.from(content);
    expect(documents.map((d) => raw.toString('utf8', d.offset, d.offset + 2))).toEqual(['1,', '2,']);
  });

  test('bad UTF-8 is counted', async () => {
    const collection = table(
      Buffer.concat([Buffer.from('text\nab'), Buffer.from([0xe2, 0x82]), Buffer.from('\nok\n')]),
    );
    expect(await texts(collection)).toEqual(['ab\ufffd', 'ok']);
    expect(collection.report.repairs).toBe(1);
  });

  test('a missing column lists those found', async () => {
    await expect(texts(table('é,b\n1,2\n'))).rejects.toThrow(
      /a\.csv:1: there is no field "text" \(fields found: "é", "b"\)/,
    );
    expect(await texts(table('a\tb\n1\tx y\n', { field: 'b' }, 'a.tsv'))).toEqual(['x y']);
  });

  test('a broken row is named; rows before it are kept', async () => {
    const content = 'id,text\n1,one\n2,two,three\n4,four\n';
    await expect(texts(table(content))).rejects.toThrow(/a\.csv: the table breaks off after line 2: .*line 3/);
    const lenient = table(content, { onProblem: 'report' });
    expect(await texts(lenient)).toEqual(['one']);
    expect(lenient.report.problems.map((p) => p.kind)).toEqual(['bad-file']);
  });

  test('an open quote is named; header only and empty files give nothing', async () => {
    await expect(texts(table('text\n"open'))).rejects.toThrow(/a\.csv: the table breaks off/);
    expect(await texts(table('text\n'))).toEqual([]);
    expect(await texts(table(''))).toEqual([]);
  });
});

describe('Parquet', () => {
  const rows = ['one', null, 'é😀', Uint8Array.of(0x61, 0xff), ''];
  const ids = rows.map((_, i) => `id${i}`);
  const file = (bytes: Uint8Array, options = {}) => {
    const folder = tempFolder({ 'a.parquet': bytes });
    return collect(path.join(folder, 'a.parquet'), options);
  };

  test.each([{}, { gzip: true }, { rowGroupRows: 2 }])('rows, nulls, repairs (%o)', async (options) => {
    const collection = file(parquetFile({ id: ids, text: rows }, options));
    const documents = await all(collection.documents());
    expect(documents.map((d) => [d.text, d.offset])).toEqual([
      ['one', 0],
      ['é😀', 2],
      ['a\ufffd', 3],
    ]);
    expect(collection.report).toMatchObject({ empty: 2, repairs: 1 });
    expect(collection.report.problems[0]!.message).toMatch(/a\.parquet row 3: bytes ff at offset 1/);
  });

  test('another column; a missing one lists those found', async () => {
    const bytes = parquetFile({ id: ids, text: rows });
    expect(await texts(file(bytes, { field: 'id' }))).toEqual(ids);
    await expect(texts(file(bytes, { field: 'body' }))).rejects.toThrow(
      /no field "body" \(fields found: "id", "text"\)/,
    );
  });

  test('every truncation is an error that names the file', async () => {
    const bytes = parquetFile({ text: ['one', 'two', 'three'] }, { rowGroupRows: 1 });
    for (let length = 0; length < bytes.length; length += 7) {
      await expect(texts(file(bytes.subarray(0, length)))).rejects.toThrow(/a\.parquet is damaged or no Parquet file/);
    }
  });

  test('damage in a later row group keeps the rows before it', async () => {
    const bytes = parquetFile({ text: ['one'.repeat(50), 'two'.repeat(50)] }, { rowGroupRows: 1, gzip: true });
    const second = bytes.lastIndexOf(Buffer.from([0x1f, 0x8b]));
    bytes.fill(0xee, second, second + 12);
    const lenient = file(bytes, { onProblem: 'report' });
    expect(await texts(lenient)).toEqual(['one'.repeat(50)]);
    expect(lenient.report.problems[0]!.message).toMatch(/a\.parquet is damaged .*rows 1 to 1/);
  });
});

describe('sources', () => {
  test('that are none are asked for', () => {
    expect(() => collect([])).toThrow('No sources were given; name files, folders or glob patterns with text.');
  });
});

describe('the pipeline', () => {
  const upperCase: TextStage = {
    name: 'upper-case',
    async *run(documents) {
      for await (const document of documents) yield { ...document, text: document.text.toUpperCase() };
    },
  };

  test('stages run before exact deduplication, which sees what they made', async () => {
    const folder = tempFolder({ 'a.txt': 'same', 'b.txt': 'same', 'c.txt': 'SAME', 'd.txt': 'other' });
    const plain = collect(folder);
    expect(await texts(plain)).toEqual(['same', 'SAME', 'other']);
    expect(plain.report.duplicates).toBe(1);
    const staged = collect(folder, { stages: [upperCase] });
    expect(await texts(staged)).toEqual(['SAME', 'OTHER']);
    expect(staged.recipe).not.toBe(plain.recipe);
    expect(await texts(collect(folder, { dedup: false }))).toHaveLength(4);
  });

  test('a stage that fails is not mistaken for a bad file', async () => {
    const folder = tempFolder({ 'a.txt': 'a' });
    const failing: TextStage = {
      name: 'failing',
      // biome-ignore lint/correctness/useYield: it fails before it yields
      async *run() {
        throw new Error('stage broke');
      },
    };
    await expect(texts(collect(folder, { stages: [failing], onProblem: 'report' }))).rejects.toThrow('stage broke');
  });

  test('a folder without text is an error', () => {
    expect(() => collect(tempFolder({ 'x.png': 'x' }))).toThrow(/No file with text was found in/);
  });

  test('stopping early closes the files', async () => {
    const folder = tempFolder({ 'a.jsonl.gz': gzipSync('{"text":"a"}\n{"text":"b"}\n'), 'b.csv': 'text\nx\ny\n' });
    for (const name of ['a.jsonl.gz', 'b.csv']) {
      for await (const document of collect(path.join(folder, name)).documents()) {
        expect(document.text).toMatch(/[ax]/);
        break;
      }
    }
  });
});
