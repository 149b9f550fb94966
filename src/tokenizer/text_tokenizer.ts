import type { AddedToken } from './added.js';

/** How text becomes ids. */
export interface EncodeOptions {
  /**
   * Which added tokens (special ones, and others that are matched whole) count when they are spelled out in the text:
   * none (the default, safe for text from outside), all, or those with these contents.
   */
  readonly allowSpecial?: boolean | 'all' | ReadonlySet<string>;
}

/** How ids become text. */
export interface DecodeOptions {
  /** Leave special tokens out. */
  readonly skipSpecial?: boolean;
  /** Leave ids out that are no token, as a model may sample whose vocabulary is padded; else they are an error. */
  readonly skipUnknown?: boolean;
}

/** One text or two, as a model reads them: with its special tokens, and the segment that each token belongs to. */
export interface Encoded {
  /** [T] */
  readonly ids: Uint32Array;
  /** [T] the segment of each token, as the post-processor numbers them: 0 for the first text, mostly 1 for the second. */
  readonly typeIds: Uint32Array;
}

/** Takes ids one by one and gives text as it becomes certain. */
export interface TextStream {
  /** The text that this id completes; it may be empty. */
  push(id: number): string;
  /** What is left when no id follows. */
  end(): string;
}

/**
 * Text to ids and back, whatever the model is: byte-level BPE (which is a `Tokenizer`), WordPiece or Unigram. `openTokenizer`
 * gives the one that a file holds. Not shared between threads.
 */
export interface TextTokenizer {
  /** The model, as `tokenizer.json` names it. */
  readonly type: 'BPE' | 'WordPiece' | 'Unigram';
  /** Where it came from, for error sentences: mostly a path. */
  readonly source: string;
  /** One more than the largest id: the rows an embedding needs. */
  readonly vocabSize: number;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly padId: number | undefined;
  readonly unkId: number | undefined;
  readonly maskId: number | undefined;
  readonly clsId: number | undefined;
  readonly sepId: number | undefined;
  /** The tokens that are matched whole, by content. */
  readonly addedTokens: ReadonlyMap<string, AddedToken>;
  /** A hash of all that decides ids: tokenizers with equal fingerprints encode alike. */
  readonly fingerprint: string;

  /** The ids of a text. No special token is added. */
  encode(text: string, options?: EncodeOptions): Uint32Array;
  /** The ids of each text. */
  encodeBatch(texts: readonly string[], options?: EncodeOptions): Uint32Array[];
  /** Two texts as the model reads them together: `withSpecials` of the ids of each. */
  encodePair(first: string, second: string, options?: EncodeOptions): Encoded;
  /**
   * What the post-processor makes of one text or of two: BERT's `[CLS] A [SEP] B [SEP]`, RoBERTa's `<s> A </s></s> B </s>`,
   * XLNet's `A <sep> B <sep> <cls>`. Of empty texts it gives the tokens that are added.
   */
  withSpecials(first: ArrayLike<number>, second?: ArrayLike<number>): Encoded;
  /** The text of ids. Throws a `TrainMoeError` on an id that is no token. */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** A decoder that takes ids one by one. */
  stream(options?: DecodeOptions): TextStream;
  /** Whether the vocabulary has a token of this id. */
  isToken(id: number): boolean;
  /** Is this a special token? Added tokens that are not special are text to `decode`. */
  isSpecial(id: number): boolean;
  /** The id of a token spelled as in `tokenizer.json`, if there is one. */
  idOf(token: string): number | undefined;
  /** The spelling of a token as in `tokenizer.json`. Throws a `TrainMoeError` if the id is no token. */
  tokenOf(id: number): string;
  /** The content of a `tokenizer.json` (Hugging Face). */
  toJson(): object;
  /** The content of a `tokenizer_config.json`: the roles of tokens, and what else stood in it. */
  configJson(): Record<string, unknown>;
  /** Writes `tokenizer.json` and `tokenizer_config.json` into a folder, or just the first if `path` ends in `.json`. */
  save(path: string): void;
}
