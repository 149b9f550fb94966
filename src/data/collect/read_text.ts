import { TrainMoeError } from '../../errors.js';
import type { TextDocument } from '../types.js';
import { type Chunk, MAX_TEXT_BYTES } from './bytes.js';
import type { Reporter } from './report.js';
import { decodeUtf8 } from './utf8.js';

/**
 * How a plain-text file becomes documents.
 * - `file`: the whole file is one document
 * - `line`, `paragraph`: every line, or every run of lines between blank lines
 * - `{ bytes }`: parts of at least that many bytes, cut at blank lines. Joined again they are the file. This is the
 *   default: a book in one file can then be split into training and validation parts, and memory stays bounded.
 */
export type TextUnit = 'file' | 'line' | 'paragraph' | { readonly bytes: number };

export const DEFAULT_TEXT_UNIT: TextUnit = { bytes: 1 << 16 };

/** Without a blank line for this long, a part is cut at a line end, else a space, else between characters. */
const HARD_PART_BYTES = 1 << 22;

/** Where a part may end: it is at least `least` bytes long, ends after `mark` where there is one, and never exceeds
 * `most`. */
interface CutRule {
  readonly least: number;
  readonly most: number;
  readonly mark: 'blank line' | 'line end';
  /** Whether the line ends around a part belong to it. */
  readonly keepEnds: boolean;
}

function cutRule(unit: TextUnit): CutRule {
  if (unit === 'file') return { least: Infinity, most: MAX_TEXT_BYTES, mark: 'blank line', keepEnds: true };
  if (unit === 'line') return { least: 0, most: HARD_PART_BYTES, mark: 'line end', keepEnds: false };
  if (unit === 'paragraph') return { least: 0, most: HARD_PART_BYTES, mark: 'blank line', keepEnds: false };
  if (!(unit.bytes > 0 && unit.bytes <= MAX_TEXT_BYTES / 2)) {
    const range = `more than 0 and at most ${Math.floor(MAX_TEXT_BYTES / 2)}`;
    throw new TrainMoeError('bad-config', `textUnit asks for parts of ${unit.bytes} bytes, expected ${range}.`);
  }
  const most = Math.max(HARD_PART_BYTES, 2 * unit.bytes);
  return { least: unit.bytes, most, mark: 'blank line', keepEnds: true };
}

/** The documents of a plain-text file. CRLF becomes LF and is counted. */
export async function* readText(
  chunks: AsyncIterable<Chunk>,
  file: string,
  unit: TextUnit,
  reporter: Reporter,
): AsyncGenerator<TextDocument> {
  const rule = cutRule(unit);
  let pending: Buffer[] = [];
  let size = 0;
  let base = -1;
  // Joining only when this much is there keeps the work linear for a file that offers no place to cut.
  let joinAt = Math.min(rule.least, rule.most);
  for await (const { bytes, offset } of chunks) {
    if (base < 0) base = offset;
    pending.push(bytes);
    size += bytes.length;
    if (size <= joinAt) continue;
    const joined = pending.length === 1 ? bytes : Buffer.concat(pending, size);
    let start = 0;
    for (let end = cut(joined, start, rule); end > start; end = cut(joined, start, rule)) {
      yield toDocument(joined.subarray(start, end), file, base + start, rule, reporter);
      start = end;
    }
    base += start;
    size -= start;
    pending = [joined.subarray(start)];
    joinAt = Math.max(Math.min(rule.least, rule.most), Math.min(2 * size, rule.most));
  }
  if (size > 0) yield toDocument(Buffer.concat(pending, size), file, base, rule, reporter);
}

/** The end of the part that starts at `start`, or -1 when more bytes are needed to tell. */
function cut(bytes: Buffer, start: number, rule: CutRule): number {
  const limit = start + rule.most;
  if (bytes.length - start > rule.least) {
    const at = endOfMark(bytes, Math.max(start, start + rule.least - 1), rule.mark);
    if (at > 0 && at <= limit) return at;
  }
  if (bytes.length <= limit) return -1;
  return forcedCut(bytes, start, limit);
}

const LF = 10;
const CR = 13;

function endOfMark(bytes: Buffer, from: number, mark: CutRule['mark']): number {
  for (let lf = bytes.indexOf(LF, from); lf >= 0; lf = bytes.indexOf(LF, lf + 1)) {
    if (mark === 'line end') return lf + 1;
    if (bytes[lf + 1] === LF) return lf + 2;
    if (bytes[lf + 1] === CR && bytes[lf + 2] === LF) return lf + 3;
  }
  return -1;
}

function forcedCut(bytes: Buffer, start: number, limit: number): number {
  const lf = bytes.lastIndexOf(LF, limit - 1);
  if (lf >= start) return lf + 1;
  const space = bytes.lastIndexOf(0x20, limit - 1);
  if (space >= start) return space + 1;
  let at = limit;
  // A continuation byte (10xxxxxx) may not start a part; four in a row are not UTF-8, so looking back three is enough.
  while (at > limit - 3 && (bytes[at]! & 0xc0) === 0x80) at--;
  return at;
}

function toDocument(bytes: Buffer, file: string, offset: number, rule: CutRule, reporter: Reporter): TextDocument {
  let text = decodeUtf8(bytes, file, offset, reporter);
  if (text.includes('\r\n')) {
    text = text.replaceAll('\r\n', () => {
      reporter.report.crlf++;
      return '\n';
    });
  }
  return { text: rule.keepEnds ? text : text.replace(/^\n+|\n+$/g, ''), source: file, offset };
}
