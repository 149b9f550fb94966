import { BERT_PUNCT, CodePointSet, classAt, runOf, runWithout, SPACE, widthOf } from '../classes.js';
import type { Splitter } from '../ends.js';
import { replaceIn } from './replace.js';

/** The steps of `BertNormalizer`. */
export interface BertNormalizerOptions {
  /** Leaves out NUL, U+FFFD and control, format and private characters, and makes all white space a space. */
  readonly clean: boolean;
  /** Puts spaces around every Chinese character, so that it is a word of its own. */
  readonly spaceIdeographs: boolean;
  readonly stripAccents: boolean;
  readonly lowercase: boolean;
}

/** Dropped in cleaning; tab and line ends are control characters too, but count as white space. */
const UNCLEAN = /^(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}\ufffd]$/u;
const WHITE = /^\p{White_Space}$/u;
/** BERT's blocks of ideographs. The last but two begins at U+2B920 in Hugging Face's tokenizers, which ids must equal. */
const IDEOGRAPH =
  /^[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]$/u;
const ASCII_ONLY = /^\p{ASCII}*$/u;
const NONSPACING = charactersIn(/^\p{Mn}$/u);

/** The normalizer of BERT: cleans, spaces ideographs, strips accents (NFD without nonspacing marks), lowercases. */
export function bertNormalizer({
  clean,
  spaceIdeographs,
  ...options
}: BertNormalizerOptions): (text: string) => string {
  const replacement = (character: string): string => {
    if (clean && UNCLEAN.test(character)) return '';
    if (clean && WHITE.test(character)) return ' ';
    return spaceIdeographs && IDEOGRAPH.test(character) ? ` ${character} ` : character;
  };
  const replaced = new CodePointSet((code) => {
    const character = String.fromCodePoint(code);
    return replacement(character) !== character;
  });
  return (text) => {
    let out = replaceIn(text, replaced, replacement);
    if (ASCII_ONLY.test(out)) return options.lowercase ? out.toLowerCase() : out;
    if (options.stripAccents) out = replaceIn(out.normalize('NFD'), NONSPACING, () => '');
    return options.lowercase ? lowercase(out) : out;
  };
}

function charactersIn(test: RegExp): CodePointSet {
  return new CodePointSet((code) => test.test(String.fromCodePoint(code)));
}

/** Lower case character by character: a capital sigma is σ, at the end of a word too, where JavaScript has ς. */
export function lowercase(text: string): string {
  return text.replaceAll('Σ', 'σ').toLowerCase();
}

/** The words of `BertPreTokenizer`: white space separates them, and each punctuation mark is one of its own. */
export const splitBertWords: Splitter = (bytes, start, end, ends) => {
  for (let at = start; at < end; ) {
    const bits = classAt(bytes, at, end);
    if (bits & SPACE) at = runOf(bytes, at, end, SPACE);
    else if (bits & BERT_PUNCT) at += widthOf(bytes[at]!);
    else at = runWithout(bytes, at, end, SPACE | BERT_PUNCT);
    ends.push(at);
  }
};
