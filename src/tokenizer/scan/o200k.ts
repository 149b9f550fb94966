import { classAt, LETTER, LOWER, MARK, NEWLINE, NUMBER, runWithout, SPACE, UPPER, widthOf } from '../classes.js';
import type { Ends } from '../ends.js';
import { contraction, runAtMost, spacePiece } from './common.js';

const UPPERCASE = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
const LOWERCASE = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
const SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";

/** o200k_base. */
export const O200K_PATTERN = [
  `[^\\r\\n\\p{L}\\p{N}]?${UPPERCASE}*${LOWERCASE}+${SUFFIX}`,
  `[^\\r\\n\\p{L}\\p{N}]?${UPPERCASE}+${LOWERCASE}*${SUFFIX}`,
  '\\p{N}{1,3}',
  ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*',
  '\\s*[\\r\\n]+',
  '\\s+(?!\\S)',
  '\\s+',
].join('|');

/** Cuts as `O200K_PATTERN` does, in one pass. */
export function splitO200k(bytes: Uint8Array, start: number, end: number, ends: Ends): void {
  for (let at = start; at < end; ends.push(at)) at = pieceEnd(bytes, at, end);
}

function pieceEnd(bytes: Uint8Array, at: number, end: number): number {
  const bits = classAt(bytes, at, end);
  if ((bits & NUMBER) !== 0) return runAtMost(bytes, at, end, NUMBER, 3);
  const next = at + widthOf(bytes[at]!);
  // A mark may be the character before the word as well as its first: that reading comes first in the pattern.
  if ((bits & (LETTER | NEWLINE)) === 0) {
    const after = word(bytes, next, end, (bits & MARK) !== 0);
    if (after > next) return contraction(bytes, after, end, true);
  }
  if ((bits & (LETTER | MARK)) !== 0) return contraction(bytes, word(bytes, at, end, false), end, true);
  const spaced = bytes[at] === 0x20 && next < end && (classAt(bytes, next, end) & (SPACE | LETTER | NUMBER)) === 0;
  if (spaced || (bits & SPACE) === 0) {
    let i = runWithout(bytes, next, end, SPACE | LETTER | NUMBER);
    while (i < end && (bytes[i] === 0x0d || bytes[i] === 0x0a || bytes[i] === 0x2f)) i++;
    return i;
  }
  return spacePiece(bytes, at, end, true);
}

/**
 * The end of `U*L+`, or failing that of `U+L*`, at `at`; `at` if neither fits. U is upper and title case, L is lower
 * case, and letters without case and marks are both. Where no lower case follows U*, it gives back up to its last
 * character that is also in L. With `onlyFirst` just the first form is tried.
 */
function word(bytes: Uint8Array, at: number, end: number, onlyFirst: boolean): number {
  let i = at;
  let both = at; // end of the last character that is in U and in L
  for (; i < end; i += widthOf(bytes[i]!)) {
    const bits = classAt(bytes, i, end);
    if ((bits & (LETTER | MARK)) === 0 || (bits & LOWER) !== 0) break;
    if ((bits & UPPER) === 0) both = i + widthOf(bytes[i]!);
  }
  if ((classAt(bytes, i, end) & LOWER) !== 0) {
    while (i < end) {
      const bits = classAt(bytes, i, end);
      if ((bits & (LETTER | MARK)) === 0 || (bits & UPPER) !== 0) break;
      i += widthOf(bytes[i]!);
    }
    return i;
  }
  if (both > at) return both;
  return onlyFirst ? at : i;
}
