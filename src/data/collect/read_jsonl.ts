import type { TextDocument } from '../types.js';
import { type Chunk, type Line, splitLines } from './bytes.js';
import { type Reporter, reason } from './report.js';
import { decodeUtf8, repairSurrogates } from './utf8.js';

/** The documents of a JSON Lines file: one per line, the text in `field`. Blank lines and null texts are skipped. */
export async function* readJsonl(
  chunks: AsyncIterable<Chunk>,
  file: string,
  field: string,
  reporter: Reporter,
): AsyncGenerator<TextDocument> {
  for await (const lines of splitLines(chunks, file)) {
    for (const line of lines) {
      const text = textOfLine(line, file, field, reporter);
      if (text !== undefined) yield { text, source: file, offset: line.offset };
    }
  }
}

function textOfLine(line: Line, file: string, field: string, reporter: Reporter): string | undefined {
  const json = decodeUtf8(line.bytes, file, line.offset, reporter);
  if (json.trim() === '') return undefined;
  const bad = (what: string, cause?: unknown): undefined => {
    const message = `${file}:${line.number}: ${what}`;
    reporter.reject({ kind: 'bad-record', file, offset: line.offset, line: line.number, message }, cause);
    return undefined;
  };
  let record: unknown;
  try {
    record = JSON.parse(json);
  } catch (error) {
    return bad(`the line is not JSON (${reason(error)}).`, error);
  }
  if (typeof record !== 'object' || record === null || Array.isArray(record)) {
    return bad(`expected a JSON object with the field "${field}", found ${kindOfValue(record)}.`);
  }
  if (!Object.hasOwn(record, field)) return bad(missingField(field, Object.keys(record)));
  const value = (record as Record<string, unknown>)[field];
  if (value === null) {
    reporter.report.empty++;
    return undefined;
  }
  if (typeof value !== 'string') return bad(`the field "${field}" holds ${kindOfValue(value)}, expected a string.`);
  return repairSurrogates(value, file, line.offset, reporter);
}

export function kindOfValue(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

const SHOWN_FIELDS = 30;

/** The sentence for data whose text lies in another field. */
export function missingField(field: string, found: readonly string[]): string {
  const names = found.slice(0, SHOWN_FIELDS).map((name) => JSON.stringify(name));
  if (found.length > SHOWN_FIELDS) names.push(`${found.length - SHOWN_FIELDS} more`);
  const list = names.length === 0 ? 'none' : names.join(', ');
  return `there is no field "${field}" (fields found: ${list}); name the one that holds the text with the option field.`;
}
