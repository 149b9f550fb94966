import type { RunConfig } from '../config/index.js';
import {
  type BatchIterator,
  type BatchOptions,
  batches,
  MASKED_SHARE,
  type MaskOptions,
  maskedBatches,
  PAIR_MARKS,
  type PairOptions,
  type PermuteOptions,
  PREDICTED_SHARE,
  pairedBatches,
  permutedBatches,
} from '../data/index.js';
import { TrainMoeError } from '../errors.js';
import type { Family, Model } from '../models/family.js';
import { sentenceEnds, type TextTokenizer, wordStarts } from '../tokenizer/index.js';
import { maskingOf } from './masking.js';
import { reuseOf } from './memory.js';

/** What a model is trained to predict, other than the next token. */
export type Objective =
  /** Words that an encoder finds hidden. */
  | { readonly kind: 'masked'; readonly masking: MaskOptions }
  /** The same in pairs of texts, and how these belong together. */
  | { readonly kind: 'pairs'; readonly masking: MaskOptions; readonly pairs: PairOptions }
  /** Words in any order: XLNet. */
  | { readonly kind: 'permuted'; readonly permuting: PermuteOptions };

/** The settings that decide an objective. */
export interface ObjectiveSettings {
  /** Share of the tokens that are predicted. */
  readonly masked: number;
  /** Tokens of a row. */
  readonly length: number;
  /** How many whole words of an encoder are hidden together, at most; 0: single tokens. */
  readonly wholeWords?: number;
  /** What an encoder is asked of pairs of texts. */
  readonly pairs?: 'none' | 'next' | 'order';
  /** Share of the pairs that are cut short. */
  readonly shortPairs?: number;
  /** XLNet: half of the rows run backwards. */
  readonly reversed?: boolean;
}

/** What decides the objective of a run. */
export const objectiveSettings = ({ data, train }: Pick<RunConfig, 'data' | 'train'>): ObjectiveSettings => ({
  masked: data.masked,
  length: train.length,
  wholeWords: data.wholeWords,
  pairs: data.pairs,
  shortPairs: data.shortPairs,
  reversed: data.reversed,
});

/** Pairs that are cut short, of all, as BERT and its descendants have them. */
export const SHORT_PAIRS = 0.1;

/** Whole words that ALBERT and Megatron-LM hide together, at most. */
export const LONGEST_WORDS = 3;

/** The settings of a model's paper, with pairs if it has the head that judges them. */
export function paperSettings({ family, config }: Pick<Model, 'family' | 'config'>, length: number): ObjectiveSettings {
  if (family.recurrence) return { masked: PREDICTED_SHARE, length };
  const pairs = judgesPairs(config) ? (family.encoder?.relationNames?.asks ?? 'none') : 'none';
  const wholeWords = pairs === 'order' ? LONGEST_WORDS : 0;
  return { masked: MASKED_SHARE, length, pairs, wholeWords, shortPairs: SHORT_PAIRS };
}

const judgesPairs = (config: unknown): boolean => (config as { readonly relation?: boolean }).relation === true;

/**
 * What a model learns from text and is scored on; undefined of those that predict the next token.
 * @throws TrainMoeError `bad-config` when the vocabulary lacks a token that it takes, the model the head, or rows leave no room
 */
export function objectiveOf(
  { family, config }: Pick<Model, 'family' | 'config'>,
  tokenizer: TextTokenizer,
  settings: ObjectiveSettings,
): Objective | undefined {
  const recurrence = family.recurrence?.(config);
  if (recurrence)
    return {
      kind: 'permuted',
      permuting: permutingOf(family, tokenizer, reuseOf(recurrence, settings.length), settings),
    };
  const tokens = maskingOf(family, tokenizer, settings.masked);
  const { wholeWords = 0, pairs = 'none' } = settings;
  if (!tokens) return undefined;
  const words = wholeWords > 0 ? { longest: wholeWords, startsWord: wordStarts(tokenizer) } : undefined;
  const masking = { ...tokens, words };
  if (pairs === 'none') return { kind: 'masked', masking };
  return { kind: 'pairs', masking, pairs: pairsOf({ family, config }, tokenizer, pairs, settings) };
}

function pairsOf(
  { family, config }: Pick<Model, 'family' | 'config'>,
  tokenizer: TextTokenizer,
  relation: PairOptions['relation'],
  { length, shortPairs = SHORT_PAIRS }: ObjectiveSettings,
): PairOptions {
  const { clsId, sepId, padId, source } = tokenizer;
  const refuse = (sentence: string) => new TrainMoeError('bad-config', sentence);
  if (!judgesPairs(config) || (config as { readonly types: number }).types < 2)
    throw refuse(
      `data.pairs = ${relation} asks a ${family.name} model for its head that judges pairs and two types of tokens, which this one has not; leave data.pairs out, or give a model that has them (model.relation, model.types).`,
    );
  if (clsId === undefined || sepId === undefined)
    throw refuse(
      `The tokenizer ${source} has no token ${clsId === undefined ? '[CLS]' : '[SEP]'}, with which pairs are built; give the tokenizer of a BERT, or leave data.pairs out.`,
    );
  if (!Number.isInteger(length) || length < PAIR_MARKS + 2)
    throw refuse(`Rows of ${length} tokens are too short for pairs; give ${PAIR_MARKS + 2} at least.`);
  return { relation, clsId, sepId, padId: padId ?? sepId, short: shortPairs, endsSentence: sentenceEnds(tokenizer) };
}

/** Tokens of a row behind those that are reused, at least: one of each text, and three marks. */
const LEAST_REST = 5;

function permutingOf(family: Family, tokenizer: TextTokenizer, reuse: number, s: ObjectiveSettings): PermuteOptions {
  const { sepId, clsId, padId, source } = tokenizer;
  if (sepId === undefined || clsId === undefined)
    throw new TrainMoeError(
      'bad-config',
      `The tokenizer ${source} has no token ${sepId === undefined ? '<sep>' : '<cls>'}, with which rows of ${family.name} are built; give the tokenizer of such a model.`,
    );
  if (!Number.isInteger(s.length) || s.length < reuse + LEAST_REST)
    throw new TrainMoeError(
      'bad-config',
      `Rows of ${s.length} tokens are too short for a model that remembers the first ${reuse} of them (reuseLength): it reads two texts and three marks behind these, so give ${reuse + LEAST_REST} tokens at least.`,
    );
  return {
    sepId,
    clsId,
    padId: padId ?? sepId, // nobody sees it
    share: s.masked,
    reuse,
    reversed: s.reversed ?? false,
    startsWord: wordStarts(tokenizer),
    endsSentence: sentenceEnds(tokenizer),
  };
}

type Section = 'data' | 'train' | 'distill';

/**
 * Refuses settings of a run that its family has no use for, before anything is made.
 * @throws TrainMoeError `bad-config`
 */
export function refuseSettings(family: Family, { data, train, distill }: Pick<RunConfig, Section>): void {
  const refuse = (setting: string, why: string) => {
    throw new TrainMoeError('bad-config', `${setting} ${why}; leave it out.`);
  };
  const { name, encoder, recurrence } = family;
  if (data.fim > 0 && (encoder || recurrence))
    refuse(`data.fim = ${data.fim}`, `is for models that write, which a model of the family ${name} does not`);
  if (data.wholeWords > 0 && !encoder)
    refuse(`data.wholeWords = ${data.wholeWords}`, `is for encoders; the model is of the family ${name}`);
  if (data.pairs !== 'none' && !encoder?.relationNames)
    refuse(`data.pairs = ${data.pairs}`, `is for families that judge pairs of texts, which ${name} does not`);
  if (distill.teacher !== undefined && !encoder)
    refuse('distill.teacher', `is for encoders; the model is of the family ${name}`);
  if (distill.teacher !== undefined && data.pairs !== 'none')
    refuse(`data.pairs = ${data.pairs}`, 'is not learnt from a teacher (distill.teacher), but hidden words are');
  if (!recurrence) {
    if (data.reversed) refuse('data.reversed', `is for XLNet; the model is of the family ${name}`);
    return;
  }
  if (data.packing === 'documents')
    refuse('data.packing = documents', `is not for models of the family ${name}, which remember across documents`);
  if (train.rowsRamp) refuse('train.rowsRamp', `is not for models of the family ${name}, each row of which goes on`);
}

/**
 * Batches of `length` positions: next tokens as targets, or those of the objective.
 * @throws TrainMoeError `bad-argument` for lengths that leave no position for a token
 */
export function openBatches(options: BatchOptions, objective: Objective | undefined): BatchIterator {
  if (!objective) return batches(options);
  if (objective.kind === 'permuted') return permutedBatches(options, objective.permuting);
  const { masking } = objective;
  if (objective.kind === 'pairs') return pairedBatches(options, objective.pairs, masking);
  const own = masking.bosId === undefined ? 0 : 1;
  if (!Number.isInteger(options.length) || options.length <= own)
    throw new TrainMoeError(
      'bad-argument',
      `The length of rows is ${options.length}; it must be a whole number of at least ${own + 1} where a model reads ${own === 0 ? 'hidden words' : 'its first special token and hidden words'}.`,
    );
  return maskedBatches(batches({ ...options, length: options.length - own }), masking);
}
