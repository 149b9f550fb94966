import { ASCII, classAt, NEWLINE, SPACE, widthOf } from '../classes.js';

const APOSTROPHE = 0x27;

/**
 * The end of `'s 't 're 've 'm 'll 'd` at `at`, or `at` if there is none. With `anyCase`, as under `(?i:)`, where the
 * long s (U+017F, bytes C5 BF) is a case variant of s.
 */
export function contraction(bytes: Uint8Array, at: number, end: number, anyCase: boolean): number {
  if (at + 1 >= end || bytes[at] !== APOSTROPHE) return at;
  const first = bytes[at + 1]!;
  if (anyCase && first === 0xc5 && at + 2 < end && bytes[at + 2] === 0xbf) return at + 3;
  const fold = anyCase ? 0x20 : 0;
  switch (first | fold) {
    case 0x73: // s
    case 0x74: // t
    case 0x6d: // m
    case 0x64: // d
      return at + 2;
    case 0x72: // re
    case 0x76: // ve
      return at + 2 < end && (bytes[at + 2]! | fold) === 0x65 ? at + 3 : at;
    case 0x6c: // ll
      return at + 2 < end && (bytes[at + 2]! | fold) === 0x6c ? at + 3 : at;
    default:
      return at;
  }
}

/**
 * The end of the white space piece at `at`, which must be white space, under `\s+(?!\S)|\s+`: the whole run if it ends
 * the text, else the run without its last character, unless that is all it has. With `lines`, `\s*[\r\n]+` goes first:
 * the run up to its last line break.
 */
export function spacePiece(bytes: Uint8Array, at: number, end: number, lines: boolean): number {
  let i = at;
  let last = at; // start of the last white space character seen
  let afterBreak = at; // end of the last line break seen
  while (i < end) {
    const lead = bytes[i]!;
    const bits = lead < 0x80 ? ASCII[lead]! : classAt(bytes, i, end);
    if ((bits & SPACE) === 0) break;
    last = i;
    i += widthOf(lead);
    if ((bits & NEWLINE) !== 0) afterBreak = i;
  }
  if (lines && afterBreak > at) return afterBreak;
  return i === end || last === at ? i : last;
}

/** The end of at most `limit` characters from `at` that have any of `bits`. */
export function runAtMost(bytes: Uint8Array, at: number, end: number, bits: number, limit: number): number {
  let i = at;
  for (let n = 0; n < limit && (classAt(bytes, i, end) & bits) !== 0; n++) i += widthOf(bytes[i]!);
  return i;
}
