import type { PieceModel } from '../encoder.js';

/** Splits words into tokens of a vocabulary. */
export interface SubwordModel {
  readonly type: 'WordPiece' | 'Unigram';
  /** What encodes words; tokens with a 1 in `barred`, [V], are not found in them. */
  pieces(barred: Uint8Array | undefined): PieceModel;
}
