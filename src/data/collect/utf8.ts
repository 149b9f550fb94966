import { isUtf8 } from 'node:buffer';
import type { Reporter } from './report.js';

/**
 * Calls `found(offset, length)` for each ill-formed sequence, by the rule of maximal subparts (Unicode 16, 3.9,
 * "U+FFFD Substitution of Maximal Subparts"): one U+FFFD per reported sequence is what every conforming decoder writes.
 */
export function scanIllFormed(bytes: Uint8Array, found: (offset: number, length: number) => void): void {
  const end = bytes.length;
  let i = 0;
  while (i < end) {
    const lead = bytes[i]!;
    if (lead < 0x80) {
      i++;
      continue;
    }
    const continuations = lead < 0xc2 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : 0;
    // The first continuation byte is narrower after four leads: no overlong forms, surrogates or values over U+10FFFF.
    let low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    let high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    let n = 1;
    while (n <= continuations && i + n < end && bytes[i + n]! >= low && bytes[i + n]! <= high) {
      n++;
      low = 0x80;
      high = 0xbf;
    }
    if (continuations === 0 || n <= continuations) found(i, n);
    i += n;
  }
}

/**
 * Decodes UTF-8, replacing each ill-formed sequence by U+FFFD and noting it with its byte offset in the file.
 * @param base byte offset of `bytes` in the file
 */
export function decodeUtf8(bytes: Buffer, file: string, base: number, reporter: Reporter): string {
  if (!isUtf8(bytes)) {
    scanIllFormed(bytes, (offset, length) => {
      reporter.report.repairs++;
      const hex = bytes.toString('hex', offset, offset + length);
      const at = base + offset;
      reporter.note({
        kind: 'utf8',
        file,
        offset: at,
        message: `${file}: bytes ${hex} at offset ${at} are not UTF-8; they were replaced by U+FFFD.`,
      });
    });
  }
  return bytes.toString('utf8');
}

const LONE_SURROGATE = /\p{Surrogate}/gu;

/**
 * Replaces lone surrogates (which JSON escapes such as `\ud800` can smuggle in, and which no UTF-8 can hold) by U+FFFD.
 * @param base byte offset of the record that held the text
 */
export function repairSurrogates(text: string, file: string, base: number, reporter: Reporter): string {
  if (text.search(LONE_SURROGATE) < 0) return text;
  return text.replace(LONE_SURROGATE, (unit: string, index: number) => {
    reporter.report.repairs++;
    reporter.note({
      kind: 'surrogate',
      file,
      offset: base,
      message:
        `${file}: the text of the record at offset ${base} holds the lone surrogate ` +
        `U+${unit.charCodeAt(0).toString(16).toUpperCase()} at character ${index}; it was replaced by U+FFFD.`,
    });
    return '\ufffd';
  });
}

/** The name of the wide encoding that a byte order mark announces, if any. */
export function wideEncoding(head: Uint8Array): string | undefined {
  if (head[0] === 0xff && head[1] === 0xfe) return head[2] === 0 && head[3] === 0 ? 'UTF-32LE' : 'UTF-16LE';
  if (head[0] === 0xfe && head[1] === 0xff) return 'UTF-16BE';
  return undefined;
}
