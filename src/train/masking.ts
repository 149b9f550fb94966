import type { DataTokenizer, MaskOptions } from '../data/index.js';
import { TrainMoeError } from '../errors.js';
import type { Family } from '../models/family.js';
import type { TextTokenizer } from '../tokenizer/index.js';

/** Special tokens of a vocabulary that is learnt for an encoder: RoBERTa's, the first four with its ids. */
export const ENCODER_TOKENS = ['<s>', '<pad>', '</s>', '<unk>', '<mask>'] as const;

/** Special tokens of a vocabulary that is learnt for XLNet: those of released models, with their ids. */
export const XLNET_TOKENS = ['<unk>', '<s>', '</s>', '<cls>', '<sep>', '<pad>', '<mask>', '<eod>', '<eop>'] as const;

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

/** A tokenizer for documents, which end with XLNet's `<eod>`, or BERT's `[SEP]` where there is no other end. */
export function forDocuments(tokenizer: TextTokenizer): DataTokenizer {
  const endOfDocument = tokenizer.idOf('<eod>');
  const own = endOfDocument ?? (tokenizer.eosId === undefined ? tokenizer.sepId : undefined);
  if (own === undefined) return tokenizer;
  const { vocabSize, fingerprint } = tokenizer;
  const bosId = endOfDocument === undefined ? tokenizer.bosId : undefined; // XLNet begins none with a token
  const eosId = own;
  return {
    vocabSize,
    fingerprint,
    bosId,
    eosId,
    encode: (text) => tokenizer.encode(text),
    isSpecial: (id) => tokenizer.isSpecial(id),
  };
}
