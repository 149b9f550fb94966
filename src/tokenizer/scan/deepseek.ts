import { ASCII, CJK, classAt, LETTER, MARK, NEWLINE, NUMBER, PUNCT, runOf, SPACE, widthOf } from '../classes.js';
import type { Ends } from '../ends.js';
import { runAtMost, spacePiece } from './common.js';

/** The three splits of DeepSeek-V3, one after the other: numbers, Chinese and Japanese, the rest. */
export const DEEPSEEK_V3_PATTERNS: readonly [string, string, string] = [
  '\\p{N}{1,3}',
  '[一-龥\u3040-ゟ゠-ヿ]+',
  '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+',
];

/** Characters that the first two splits cut out. */
const CUT = NUMBER | CJK;

/**
 * Cuts as the three splits do, in one pass: a number or a CJK run is cut out first, so for the third split the text ends
 * where one begins. The third split then also cuts the CJK runs: U+30FB is punctuation.
 */
export function splitDeepseekV3(bytes: Uint8Array, start: number, end: number, ends: Ends): void {
  let at = start;
  while (at < end) {
    const lead = bytes[at]!;
    const bits = lead < 0x80 ? ASCII[lead]! : classAt(bytes, at, end);
    if ((bits & NUMBER) !== 0) at = runAtMost(bytes, at, end, NUMBER, 3);
    else if ((bits & CJK) !== 0) at = cjkRun(bytes, at, end, ends);
    else at = restPiece(bytes, at, end, CUT, ends);
    ends.push(at);
  }
}

/** Pushes the pieces of the CJK run at `at` but the last, and returns the end of that. */
function cjkRun(bytes: Uint8Array, at: number, end: number, ends: Ends): number {
  const stop = runOf(bytes, at, end, CJK);
  let i = at;
  for (;;) {
    i = restPiece(bytes, i, stop, 0, ends);
    if (i === stop) return stop;
    ends.push(i);
  }
}

/**
 * The end of the piece of the third split at `at`; a character with any bit of `cut` ends its text. Characters that no
 * alternative takes make one piece up to the next match or cut: if a match follows some, their end is pushed and that of
 * the match is returned.
 */
function restPiece(bytes: Uint8Array, at: number, end: number, cut: number, ends: Ends): number {
  let i = at;
  for (;;) {
    const after = match(bytes, i, end, cut);
    if (after > i) {
      if (i > at) ends.push(i);
      return after;
    }
    i += widthOf(bytes[i]!);
    if (i >= end || (classAt(bytes, i, end) & cut) !== 0) return i;
  }
}

/** The end of the third pattern's match that starts at `at`, or `at` if it does not match there. */
function match(bytes: Uint8Array, at: number, end: number, cut: number): number {
  const lead = bytes[at]!;
  const bits = lead < 0x80 ? ASCII[lead]! : classAt(bytes, at, end);
  if ((bits & (LETTER | MARK)) !== 0) return word(bytes, at, end, cut);
  const next = at + widthOf(lead);
  if ((bits & PUNCT) !== 0) {
    if (lead < 0x80 && isAsciiLetter(bytes, next, end)) {
      let i = next + 1;
      while (isAsciiLetter(bytes, i, end)) i++;
      return i;
    }
    return punctuation(bytes, at, end, cut);
  }
  const nextBits = inside(classAt(bytes, next, end), cut);
  if ((bits & NEWLINE) === 0 && (nextBits & (LETTER | MARK)) !== 0) return word(bytes, next, end, cut);
  if (lead === 0x20 && (nextBits & PUNCT) !== 0) return punctuation(bytes, next, end, cut);
  return (bits & SPACE) !== 0 ? space(bytes, at, end, cut) : at;
}

/** The bits of a character, or 0 for one where the text ends. */
function inside(bits: number, cut: number): number {
  return (bits & cut) !== 0 ? 0 : bits;
}

function isAsciiLetter(bytes: Uint8Array, at: number, end: number): boolean {
  if (at >= end) return false;
  const lower = bytes[at]! | 0x20;
  return lower >= 0x61 && lower <= 0x7a;
}

/** `[\p{L}\p{M}]+` */
function word(bytes: Uint8Array, at: number, end: number, cut: number): number {
  let i = at;
  while (i < end) {
    const lead = bytes[i]!;
    if (lead < 0x80) {
      if ((ASCII[lead]! & LETTER) === 0) return i;
      i++;
    } else {
      if ((inside(classAt(bytes, i, end), cut) & (LETTER | MARK)) === 0) return i;
      i += widthOf(lead);
    }
  }
  return i;
}

/** `[\p{P}\p{S}]+[\r\n]*` */
function punctuation(bytes: Uint8Array, at: number, end: number, cut: number): number {
  let i = at;
  while ((inside(classAt(bytes, i, end), cut) & PUNCT) !== 0) i += widthOf(bytes[i]!);
  return runOf(bytes, i, end, NEWLINE);
}

/** `\s*[\r\n]+|\s+(?!\S)|\s+`, where a character of `cut` ends the text. */
function space(bytes: Uint8Array, at: number, end: number, cut: number): number {
  const stop = runOf(bytes, at, end, SPACE);
  const ends = stop < end && (classAt(bytes, stop, end) & cut) !== 0;
  return spacePiece(bytes, at, ends ? stop : end, true);
}
