export { type Completion, Engine, type EngineOptions, type TokenEvent } from './engine.js';
export { type Filling, fillMask } from './fill.js';
export type { GenerateOptions, SampleOptions, TextOptions } from './options.js';
export { type TextPiece, TextPieces } from './pieces.js';
export type { FinishReason } from './sequence.js';
export { decodeCompletion, endIds, promptIds, streamText } from './text.js';
