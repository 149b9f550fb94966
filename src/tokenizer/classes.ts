/**
 * Unicode classes of code points, as bits, looked up from UTF-8 bytes.
 *
 * The tables are made from the engine's own Unicode data, 256 code points at a time and only when a page is first met,
 * so that starting costs nothing and no data file has to be kept in step with a Unicode version.
 */

/** General category L. */
export const LETTER = 1;
/** General category N. */
export const NUMBER = 2;
/** White_Space, which is what `\s` means in Oniguruma and Rust. JavaScript's `\s` has U+FEFF more and U+0085 less. */
export const SPACE = 4;
/** Carriage return and line feed. */
export const NEWLINE = 8;
/** General category M. */
export const MARK = 16;
/** General categories P and S. */
export const PUNCT = 32;
/** Lu and Lt. */
export const UPPER = 64;
/** Ll. */
export const LOWER = 128;
/** `[一-龥\u3040-ゟ゠-ヿ]`: the second split of DeepSeek-V3. */
export const CJK = 256;
/** General category P, and every ASCII character that is no letter or digit: what BERT takes for punctuation. */
export const BERT_PUNCT = 512;

/** White_Space as the inside of a JavaScript character class. */
export const WHITE_SPACE = '\\t-\\r \\x85\\xA0\\u1680\\u2000-\\u200A\\u2028\\u2029\\u202F\\u205F\\u3000';

const TESTS: readonly (readonly [bit: number, test: RegExp])[] = [
  [LETTER, /^\p{L}/u],
  [NUMBER, /^\p{N}/u],
  [SPACE, /^\p{White_Space}/u],
  [NEWLINE, /^[\r\n]/u],
  [MARK, /^\p{M}/u],
  [PUNCT, /^[\p{P}\p{S}]/u],
  [UPPER, /^[\p{Lu}\p{Lt}]/u],
  [LOWER, /^\p{Ll}/u],
  [CJK, /^[一-龥\u3040-ゟ゠-ヿ]/u],
  [BERT_PUNCT, /^[\p{P}!-/:-@[-`{-~]/u],
];

const pages: (Uint16Array | undefined)[] = new Array(0x1100).fill(undefined);

function fillPage(page: number): Uint16Array {
  const table = new Uint16Array(256);
  for (let low = 0; low < 256; low++) {
    const char = String.fromCodePoint((page << 8) | low);
    for (const [bit, test] of TESTS) if (test.test(char)) table[low]! |= bit;
  }
  pages[page] = table;
  return table;
}

/** Class bits of the 128 ASCII characters; the rest of the 256 entries is zero and not to be used. */
export const ASCII: Uint16Array = fillPage(0).map((bits, code) => (code < 128 ? bits : 0));

/** Class bits of a code point. */
export function classOf(code: number): number {
  return (pages[code >> 8] ?? fillPage(code >> 8))[code & 255]!;
}

/** The code point whose UTF-8 encoding starts at `at`. The bytes must be well-formed. */
export function codePointAt(bytes: Uint8Array, at: number): number {
  const lead = bytes[at]!;
  if (lead < 0x80) return lead;
  if (lead < 0xe0) return ((lead & 31) << 6) | (bytes[at + 1]! & 63);
  if (lead < 0xf0) return ((lead & 15) << 12) | ((bytes[at + 1]! & 63) << 6) | (bytes[at + 2]! & 63);
  return ((lead & 7) << 18) | ((bytes[at + 1]! & 63) << 12) | ((bytes[at + 2]! & 63) << 6) | (bytes[at + 3]! & 63);
}

/** Class bits of the character whose UTF-8 encoding starts at `at`; 0 at or past `end`. */
export function classAt(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return 0;
  const lead = bytes[at]!;
  if (lead < 0x80) return ASCII[lead]!;
  const code = codePointAt(bytes, at);
  return (pages[code >> 8] ?? fillPage(code >> 8))[code & 255]!;
}

/** How many bytes the UTF-8 character with this first byte has. */
export function widthOf(lead: number): number {
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/** The end of the longest run from `at` of characters that have any of `bits`. */
export function runOf(bytes: Uint8Array, at: number, end: number, bits: number): number {
  let i = at;
  while (i < end) {
    const lead = bytes[i]!;
    if (lead < 0x80) {
      if ((ASCII[lead]! & bits) === 0) return i;
      i++;
    } else {
      if ((classAt(bytes, i, end) & bits) === 0) return i;
      i += widthOf(lead);
    }
  }
  return i;
}

/** The end of the longest run from `at` of characters that have none of `bits`. */
export function runWithout(bytes: Uint8Array, at: number, end: number, bits: number): number {
  let i = at;
  while (i < end) {
    const lead = bytes[i]!;
    if (lead < 0x80) {
      if ((ASCII[lead]! & bits) !== 0) return i;
      i++;
    } else {
      if ((classAt(bytes, i, end) & bits) !== 0) return i;
      i += widthOf(lead);
    }
  }
  return i;
}

/** A set of code points given by a test, remembered in bit pages of 256 that are filled when first asked for. */
export class CodePointSet {
  readonly #pages: (Uint8Array | undefined)[] = new Array(0x1100).fill(undefined);
  constructor(readonly test: (code: number) => boolean) {}

  has(code: number): boolean {
    return (this.#pages[code >> 8] ?? this.#fill(code >> 8))[code & 255] === 1;
  }

  #fill(page: number): Uint8Array {
    const table = Uint8Array.from({ length: 256 }, (_, low) => (this.test((page << 8) | low) ? 1 : 0));
    this.#pages[page] = table;
    return table;
  }
}
