export type { AddedToken } from './added.js';
export { loadTokenizer } from './load.js';
export type { TiktokenOptions } from './ranks.js';
export { fromPatterns, PATTERNS, type PatternName, type PreTokenizer } from './split.js';
export type { StreamDecoder } from './stream.js';
export { type DecodeOptions, type EncodeOptions, type Roles, Tokenizer } from './tokenizer.js';
