export type { AddedToken } from './added.js';
export * from './chat/index.js';
export { type TrainBpeOptions, type TrainProgress, trainBpe } from './learn/train.js';
export { loadTokenizer } from './load.js';
export type { Roles } from './parts.js';
export { fromPatterns, PATTERNS, type PatternName, type PatternSpec, type PreTokenizer } from './patterns.js';
export type { TiktokenOptions } from './ranks.js';
export type { StreamDecoder } from './stream.js';
export { type DecodeOptions, type EncodeOptions, Tokenizer } from './tokenizer.js';
