import { isUtf8 } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createReporter, emptyReport } from '../../src/data/collect/report.js';
import { decodeUtf8, repairSurrogates, scanIllFormed } from '../../src/data/collect/utf8.js';

/** Bytes that are often nearly UTF-8: whole characters, cut characters, and the edges of the forbidden ranges. */
const nearlyUtf8 = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 4 }).map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 3 }),
      fc.constantFrom(
        [0xe0, 0x9f, 0xbf],
        [0xed, 0xa0, 0x80],
        [0xf0, 0x8f, 0xbf],
        [0xf4, 0x90, 0x80],
        [0xf0, 0x9f, 0x98],
      ),
      fc.constantFrom([0xc0, 0xaf], [0xc1], [0xf5], [0xff], [0x80], [0xe2, 0x82], [0xc3]),
    ),
    { maxLength: 12 },
  )
  .map((parts) => Buffer.concat(parts.map((part) => Buffer.from(part))));

describe('UTF-8 repair', () => {
  test('marks exactly what a conforming decoder replaces', () => {
    fc.assert(
      fc.property(nearlyUtf8, (bytes) => {
        const parts: string[] = [];
        const fatal = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
        let from = 0;
        scanIllFormed(bytes, (offset, length) => {
          parts.push(fatal.decode(bytes.subarray(from, offset)), '\ufffd');
          from = offset + length;
        });
        parts.push(fatal.decode(bytes.subarray(from)));
        const decoded = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
        expect(parts.join('')).toBe(decoded);
        expect(parts.length === 1).toBe(isUtf8(bytes));
        const report = emptyReport();
        expect(decodeUtf8(bytes, 'f', 0, createReporter(report, 'throw', 10))).toBe(decoded);
        expect(report.repairs).toBe((parts.length - 1) / 2);
      }),
      { numRuns: 2000 },
    );
  });

  test('reports file, offset and bytes', () => {
    const report = emptyReport();
    const text = decodeUtf8(
      Buffer.from([0x61, 0xff, 0x62, 0xe2, 0x82]),
      'a.txt',
      100,
      createReporter(report, 'throw', 10),
    );
    expect(text).toBe('a\ufffdb\ufffd');
    expect(report.problems.map((p) => [p.kind, p.file, p.offset])).toEqual([
      ['utf8', 'a.txt', 101],
      ['utf8', 'a.txt', 103],
    ]);
    expect(report.problems[1]!.message).toContain('bytes e282 at offset 103');
  });

  test('replaces lone surrogates and leaves pairs', () => {
    const report = emptyReport();
    const reporter = createReporter(report, 'throw', 1);
    expect(repairSurrogates('a\ud800b\udc00\ud83d\ude00', 'f', 7, reporter)).toBe('a\ufffdb\ufffd\ud83d\ude00');
    expect(report.repairs).toBe(2);
    expect(report.problemCount).toBe(2);
    expect(report.problems).toHaveLength(1);
    expect(report.problems[0]!.message).toContain('U+D800 at character 1');
    expect(repairSurrogates('plain', 'f', 0, reporter)).toBe('plain');
  });
});
