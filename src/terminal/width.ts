/**
 * How many columns text takes in a terminal. Wide are the East Asian ranges of Unicode's EastAsianWidth.txt and
 * whatever is shown as an emoji; marks, joiners and controls take none.
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
const ESCAPE_SEQUENCE = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\))/g;
const NO_WIDTH = /^[\p{Mark}\p{Control}\p{Format}\p{Default_Ignorable_Code_Point}]+$/u;
const EMOJI = /\p{Emoji_Presentation}|\p{Emoji}\ufe0f|\p{Regional_Indicator}{2}/u;
const WIDE_RANGES: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f],
  [0x2e80, 0x303e],
  [0x3041, 0x33ff],
  [0x3400, 0x4dbf],
  [0x4e00, 0x9fff],
  [0xa000, 0xa4cf],
  [0xa960, 0xa97f],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff01, 0xff60],
  [0xffe0, 0xffe6],
  [0x16fe0, 0x18cff],
  [0x1b000, 0x1b2ff],
  [0x20000, 0x3fffd],
];

let segmenter: Intl.Segmenter | undefined;

function graphemes(text: string): Iterable<{ readonly segment: string }> {
  segmenter ??= new Intl.Segmenter();
  return segmenter.segment(text);
}

/** Text without colours and other escape sequences. */
export function plainText(text: string): string {
  return text.replace(ESCAPE_SEQUENCE, '');
}

/** Columns of a line of text; escape sequences take none. */
export function textWidth(text: string): number {
  const plain = plainText(text);
  if (/^[ -~]*$/.test(plain)) return plain.length;
  let width = 0;
  for (const { segment } of graphemes(plain)) width += graphemeWidth(segment);
  return width;
}

function graphemeWidth(grapheme: string): number {
  if (NO_WIDTH.test(grapheme)) return 0;
  const point = grapheme.codePointAt(0)!;
  const wide = WIDE_RANGES.some(([first, last]) => point >= first && point <= last);
  return wide || EMOJI.test(grapheme) ? 2 : 1;
}

/**
 * The text if it fits into `columns`, or its beginning and an ellipsis. Never splits a character; colours that were
 * opened before the cut are closed.
 */
export function fitText(text: string, columns: number): string {
  if (textWidth(text) <= columns) return text;
  if (columns < 1) return '';
  let out = '';
  let width = 0;
  let last = 0;
  let styled = false;
  const takePlain = (plain: string): boolean => {
    for (const { segment } of graphemes(plain)) {
      const next = width + graphemeWidth(segment);
      if (next > columns - 1) return false;
      out += segment;
      width = next;
    }
    return true;
  };
  for (const match of [...text.matchAll(ESCAPE_SEQUENCE), undefined]) {
    if (!takePlain(text.slice(last, match?.index))) break;
    if (match === undefined) break;
    out += match[0];
    styled = true;
    last = match.index + match[0].length;
  }
  return `${out}…${styled ? '\u001b[0m' : ''}`;
}

/** Fills up with spaces to `columns`, behind the text or before it. */
export function padText(text: string, columns: number, align: 'left' | 'right' = 'left'): string {
  const space = ' '.repeat(Math.max(0, columns - textWidth(text)));
  return align === 'left' ? text + space : space + text;
}
