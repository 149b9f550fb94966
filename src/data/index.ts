/**
 * From text on disk to batches of token ids:
 *
 *     collect(sources) -> documents -> stages -> tokenize(...) -> shards -> batches(...)
 *
 * Crawl formats, near-duplicate removal and quality filters are stages (`CollectOptions.stages`).
 */
export type { SourceFile } from './collect/files.js';
export type { Format as FileFormat } from './collect/formats.js';
export { type Collection, type CollectOptions, collect } from './collect/index.js';
export type { TextUnit } from './collect/read_text.js';
export type { ProblemPolicy } from './collect/report.js';
export * from './conversations/index.js';
export { exactDedup } from './dedup.js';
export { type DefaultCorpus, defaultCorpus } from './default_corpus.js';
export type { FimOptions } from './fim.js';
export { type BatchIterator, type BatchOptions, batches } from './loader.js';
export { MASKED_SHARE, type MaskOptions, masked, maskedBatches, type WholeWords } from './mask.js';
export { permutation } from './order.js';
export { PAIR_MARKS, type PairOptions, pairedBatches } from './pairs.js';
export { type PermuteOptions, PREDICTED_SHARE, permutedBatches, permutedWindows, predictedPerRow } from './permute.js';
export * from './preferences/index.js';
export { type DataRecord, type OnBad, readRecords } from './records.js';
export { type OpenOptions, openTokens, type TokenSet, type TokenStream } from './shards/read.js';
export { type TokenizeOptions, type TokenizeProgress, tokenize } from './shards/write.js';
export { shiftOnce } from './shift.js';
export type { SplitFractions } from './split.js';
export { permutationMask, type SpanOptions, type TargetPlaces, type TurnRow, targetPlaces } from './turns.js';
export {
  type Batch,
  type CollectReport,
  type DataState,
  type DataTokenizer,
  IGNORE,
  type Packing,
  type Problem,
  type SplitName,
  type TextDocument,
  type TextStage,
} from './types.js';
