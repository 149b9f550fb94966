import type { IdBuffer } from '../encoder.js';

/** Splits words into tokens of a vocabulary. */
export interface SubwordModel {
  readonly type: 'WordPiece' | 'Unigram';
  /**
   * Appends the ids of one word (well-formed UTF-16, as the pre-tokenizer gives it). Tokens with a 1 in `barred`, [V], are not
   * found in it.
   */
  encode(word: string, barred: Uint8Array | undefined, out: IdBuffer): void;
}
