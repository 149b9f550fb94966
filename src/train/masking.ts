import {
  type BatchIterator,
  type BatchOptions,
  batches,
  type DataTokenizer,
  type MaskOptions,
  maskedBatches,
} from '../data/index.js';
import { TrainMoeError } from '../errors.js';
import type { Family } from '../models/family.js';
import type { TextTokenizer } from '../tokenizer/index.js';

/** Special tokens of a vocabulary that is learnt for an encoder: RoBERTa's, the first four with its ids. */
export const ENCODER_TOKENS = ['<s>', '<pad>', '</s>', '<unk>', '<mask>'] as const;

/** What masking needs to know of a tokenizer. */
export type MaskTokenizer = Pick<
  TextTokenizer,
  'maskId' | 'clsId' | 'bosId' | 'isSpecial' | 'isToken' | 'vocabSize' | 'source'
>;

/**
 * The token that stands for a hidden one.
 * @throws TrainMoeError `bad-config` when the vocabulary has none
 */
export function maskIdOf({ maskId, source }: Pick<MaskTokenizer, 'maskId' | 'source'>): number {
  if (maskId !== undefined) return maskId;
  throw new TrainMoeError(
    'bad-config',
    `The tokenizer ${source} has no token <mask> or [MASK], which an encoder needs; give the tokenizer of an encoder.`,
  );
}

/**
 * How an encoder's words are hidden; undefined for models that predict the next token.
 * @throws TrainMoeError `bad-config` when the vocabulary has no token for it
 */
export function maskingOf(family: Family, tokenizer: MaskTokenizer, share: number): MaskOptions | undefined {
  if (!family.encoder) return undefined;
  return {
    maskId: maskIdOf(tokenizer),
    bosId: tokenizer.clsId ?? tokenizer.bosId,
    vocabulary: tokenizer.vocabSize,
    isSpecial: (id) => tokenizer.isSpecial(id) || !tokenizer.isToken(id),
    share,
  };
}

/** A tokenizer for documents, which end with BERT's `[SEP]` where there is no other end. */
export function forDocuments(tokenizer: TextTokenizer): DataTokenizer {
  if (tokenizer.eosId !== undefined || tokenizer.sepId === undefined) return tokenizer;
  const { vocabSize, fingerprint, bosId, sepId: eosId } = tokenizer;
  return {
    vocabSize,
    fingerprint,
    bosId,
    eosId,
    encode: (text) => tokenizer.encode(text),
    isSpecial: (id) => tokenizer.isSpecial(id),
  };
}

/**
 * Batches of `length` positions: next tokens as targets, or hidden ones.
 * @throws TrainMoeError `bad-argument` for lengths that leave no position for a token
 */
export function openBatches(options: BatchOptions, masking: MaskOptions | undefined): BatchIterator {
  if (!masking) return batches(options);
  const own = masking.bosId === undefined ? 0 : 1;
  if (!Number.isInteger(options.length) || options.length <= own)
    throw new TrainMoeError(
      'bad-argument',
      `The length of rows is ${options.length}; it must be a whole number of at least ${own + 1} where a model reads ${own === 0 ? 'hidden words' : 'its first special token and hidden words'}.`,
    );
  return maskedBatches(batches({ ...options, length: options.length - own }), masking);
}
