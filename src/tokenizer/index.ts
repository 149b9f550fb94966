export type { AddedMatcher, AddedToken } from './added.js';
export * from './chat/index.js';
export type { Ends, Splitter } from './ends.js';
export { type TrainBpeOptions, type TrainProgress, trainBpe } from './learn/train.js';
export { loadTokenizer, openTokenizer } from './load.js';
export type { MergeTable } from './merge.js';
export type { BpeModel, NormalForm, Roles, TokenizerParts } from './parts.js';
export type { Dialect as PatternDialect } from './pattern.js';
export {
  fromPatterns,
  PATTERNS,
  type PatternName,
  type PatternSpec,
  type PreTokenizer,
  type PreTokenizerJson,
} from './patterns.js';
export type { PostProcessor, TemplatePiece } from './post_processor.js';
export type { TiktokenOptions } from './ranks.js';
export type { StreamDecoder } from './stream.js';
export type { DecodeOptions, Encoded, EncodeOptions, TextStream, TextTokenizer } from './text_tokenizer.js';
export { Tokenizer } from './tokenizer.js';
export type { Vocabulary } from './vocabulary.js';
export { sentenceEnds, wordStarts } from './words.js';
export type { TokenizerJson } from './write.js';
