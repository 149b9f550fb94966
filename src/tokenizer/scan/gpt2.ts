import { ASCII, classAt, LETTER, NUMBER, runOf, runWithout, SPACE } from '../classes.js';
import type { Ends } from '../ends.js';
import { contraction, spacePiece } from './common.js';

/** The pattern of GPT-2, and of `ByteLevel` with `use_regex`. Radford et al. 2019. */
export const GPT2_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** Cuts as `GPT2_PATTERN` does, in one pass. */
export function splitGpt2(bytes: Uint8Array, start: number, end: number, ends: Ends): void {
  for (let at = start; at < end; ends.push(at)) at = pieceEnd(bytes, at, end);
}

function pieceEnd(bytes: Uint8Array, at: number, end: number): number {
  const lead = bytes[at]!;
  if (lead === 0x27) {
    const after = contraction(bytes, at, end, false);
    if (after > at) return after;
  }
  const body = lead === 0x20 ? at + 1 : at;
  if (body === end) return end;
  const first = bytes[body]!;
  const bits = first < 0x80 ? ASCII[first]! : classAt(bytes, body, end);
  if ((bits & LETTER) !== 0) return runOf(bytes, body, end, LETTER);
  if ((bits & NUMBER) !== 0) return runOf(bytes, body, end, NUMBER);
  if ((bits & SPACE) === 0) return runWithout(bytes, body, end, SPACE | LETTER | NUMBER);
  return spacePiece(bytes, at, end, false);
}
