import { ASCII, classAt, LETTER, NEWLINE, NUMBER, runOf, runWithout, SPACE, widthOf } from '../classes.js';
import type { Ends, Splitter } from '../ends.js';
import { contraction, runAtMost, spacePiece } from './common.js';

/** cl100k_base as tiktoken writes it today. `$` is the end of the text. */
export const CL100K_PATTERN =
  "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s";

/** Llama-3, and cl100k_base as `tokenizer.json` files write it. */
export const LLAMA3_PATTERN =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** Qwen 2: as Llama-3, with single digits. */
export const QWEN2_PATTERN = LLAMA3_PATTERN.replace('\\p{N}{1,3}', '\\p{N}');

/** What tells the members of this family apart. */
interface Member {
  /** How many digits a piece may have. */
  readonly digits: number;
  /** White space that ends the text is one piece, line breaks included. */
  readonly trailing: boolean;
}

/** One pass over the text for each of the patterns above. */
export const splitCl100k: Splitter = splitter({ digits: 3, trailing: true });
export const splitLlama3: Splitter = splitter({ digits: 3, trailing: false });
export const splitQwen2: Splitter = splitter({ digits: 1, trailing: false });

function splitter(member: Member): Splitter {
  return (bytes: Uint8Array, start: number, end: number, ends: Ends) => {
    for (let at = start; at < end; ends.push(at)) at = pieceEnd(bytes, at, end, member);
  };
}

function pieceEnd(bytes: Uint8Array, at: number, end: number, member: Member): number {
  const lead = bytes[at]!;
  if (lead === 0x27) {
    const after = contraction(bytes, at, end, true);
    if (after > at) return after;
  }
  const bits = lead < 0x80 ? ASCII[lead]! : classAt(bytes, at, end);
  if ((bits & LETTER) !== 0) return runOf(bytes, at, end, LETTER);
  if ((bits & NUMBER) !== 0) return runAtMost(bytes, at, end, NUMBER, member.digits);
  const next = at + widthOf(lead);
  const nextBits = classAt(bytes, next, end);
  if ((bits & NEWLINE) === 0 && (nextBits & LETTER) !== 0) return runOf(bytes, next, end, LETTER);
  const spaced = lead === 0x20 && next < end && (nextBits & (SPACE | LETTER | NUMBER)) === 0;
  if (spaced || (bits & SPACE) === 0) {
    return runOf(bytes, runWithout(bytes, next, end, SPACE | LETTER | NUMBER), end, NEWLINE);
  }
  if (member.trailing && runOf(bytes, at, end, SPACE) === end) return end;
  return spacePiece(bytes, at, end, true);
}
