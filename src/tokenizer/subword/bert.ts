/** The steps of `BertNormalizer`. */
export interface BertNormalizerOptions {
  /** Leaves out NUL, U+FFFD and control, format and private characters, and makes all white space a space. */
  readonly clean: boolean;
  /** Puts spaces around every Chinese character, so that it is a word of its own. */
  readonly spaceIdeographs: boolean;
  readonly stripAccents: boolean;
  readonly lowercase: boolean;
}

/** Dropped; tab and line ends are control characters too, but count as white space. */
const UNCLEAN = /(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}\ufffd]/gu;
const SPACES = /(?! )\p{White_Space}/gu;
/** BERT's blocks of ideographs. The last but two begins at U+2B920 in Hugging Face's tokenizers, which ids must equal. */
const IDEOGRAPH =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;
const ASCII_ONLY = /^\p{ASCII}*$/u;

/** The normalizer of BERT: cleans, spaces ideographs, strips accents (NFD without nonspacing marks), lowercases. */
export function bertNormalizer(options: BertNormalizerOptions): (text: string) => string {
  return (text) => {
    let out = options.clean ? text.replace(UNCLEAN, '').replace(SPACES, ' ') : text;
    if (ASCII_ONLY.test(out)) return options.lowercase ? out.toLowerCase() : out;
    if (options.spaceIdeographs) out = out.replace(IDEOGRAPH, ' $& ');
    if (options.stripAccents) out = out.normalize('NFD').replace(/\p{Mn}+/gu, '');
    return options.lowercase ? lowercase(out) : out;
  };
}

/** Lower case character by character: a capital sigma is σ, at the end of a word too, where JavaScript has ς. */
export function lowercase(text: string): string {
  return text.replaceAll('Σ', 'σ').toLowerCase();
}

const PUNCTUATION = '\\p{P}!-\\/:-@\\[-`\\{-~'; // every ASCII character that is no letter or digit counts
const BERT_WORD = new RegExp(`[${PUNCTUATION}]|[^${PUNCTUATION}\\p{White_Space}]+`, 'gu');

/** The words of `BertPreTokenizer`: what stands between white space, with each punctuation mark by itself. */
export function bertWords(text: string): readonly string[] {
  return text.match(BERT_WORD) ?? [];
}
