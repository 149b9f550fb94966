import { type BatchIterator, type BatchOptions, batches, type MaskOptions, maskedBatches } from '../data/index.js';
import { TrainMoeError } from '../errors.js';
import type { Family } from '../models/family.js';
import type { Tokenizer } from '../tokenizer/index.js';

/** Special tokens of a vocabulary that is learnt for an encoder: RoBERTa's, the first four with its ids. */
export const ENCODER_TOKENS = ['<s>', '<pad>', '</s>', '<unk>', '<mask>'] as const;

/** What released models call the token that stands for a hidden one. */
const MASKS = ['<mask>', '[MASK]'] as const;

/** What masking needs to know of a tokenizer. */
export type MaskTokenizer = Pick<Tokenizer, 'idOf' | 'isSpecial' | 'isToken' | 'vocabSize' | 'bosId'>;

/**
 * The token that stands for a hidden one.
 * @throws TrainMoeError `bad-config` when the vocabulary has none
 */
export function maskIdOf(tokenizer: Pick<MaskTokenizer, 'idOf'>): number {
  const id = MASKS.map((name) => tokenizer.idOf(name)).find((found) => found !== undefined);
  if (id !== undefined) return id;
  throw new TrainMoeError(
    'bad-config',
    `The tokenizer has no token ${MASKS.join(' or ')}, which an encoder needs; give the tokenizer of an encoder, or none to learn one.`,
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
    bosId: tokenizer.bosId,
    vocabulary: tokenizer.vocabSize,
    isSpecial: (id) => tokenizer.isSpecial(id) || !tokenizer.isToken(id),
    share,
  };
}

/** Batches of `length` positions: next tokens as targets, or hidden ones. */
export function openBatches(options: BatchOptions, masking: MaskOptions | undefined): BatchIterator {
  if (!masking) return batches(options);
  const own = masking.bosId === undefined ? 0 : 1;
  return maskedBatches(batches({ ...options, length: options.length - own }), masking);
}
