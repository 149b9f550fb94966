import { contentOf } from '../roles.js';
import { readSubwordJson } from './read.js';
import type { SubwordTokenizer } from './tokenizer.js';

/** The names of BERT's special tokens, unless `tokenizer_config.json` has others. */
const SPECIAL = { unk: '[UNK]', sep: '[SEP]', pad: '[PAD]', cls: '[CLS]', mask: '[MASK]' } as const;

/**
 * Reads BERT's `vocab.txt`: a token on each line, whose number, from 0, is the id. What else there is to the tokenizer is in
 * `tokenizer_config.json` (`do_lower_case`, `tokenize_chinese_chars`, `strip_accents`, `unk_token`, ...). Where that does not
 * say it, text is lower-cased unless the vocabulary has capitals. Throws a `TrainMoeError`; `where` begins its sentence.
 */
export function readVocabTxt(
  text: string,
  where: string,
  config: Readonly<Record<string, unknown>> = {},
): SubwordTokenizer {
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  const vocab = new Map(lines.map((token, id) => [token, id]));
  const named = Object.fromEntries(
    Object.entries(SPECIAL).map(([role, name]) => [role, contentOf(config[`${role}_token`]) ?? name]),
  ) as Readonly<Record<keyof typeof SPECIAL, string>>;
  const added = Object.values(named)
    .filter((content) => vocab.has(content))
    .map((content) => ({ id: vocab.get(content)!, content, special: true, normalized: false }));
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added.map((token) => ({ ...token, single_word: false, lstrip: false, rstrip: false })),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: config.tokenize_chinese_chars !== false,
      strip_accents: typeof config.strip_accents === 'boolean' ? config.strip_accents : null,
      lowercase: typeof config.do_lower_case === 'boolean' ? config.do_lower_case : !lines.some(hasCapital),
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: around(vocab, named.cls, named.sep),
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: named.unk,
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(vocab),
    },
  };
  return readSubwordJson(json, where, config);
}

/** Special tokens, `[unused12]` among them, stand in brackets and say nothing about case. */
const hasCapital = (token: string): boolean => !/^\[.*\]$/.test(token) && /\p{Lu}/u.test(token);

function around(vocab: ReadonlyMap<string, number>, cls: string, sep: string): object | null {
  if (!vocab.has(cls) || !vocab.has(sep)) return null;
  return { type: 'BertProcessing', sep: [sep, vocab.get(sep)], cls: [cls, vocab.get(cls)] };
}
