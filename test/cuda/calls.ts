import { attentionCalls } from './calls/attention.js';
import type { Call } from './calls/bench.js';
import { decodeCalls } from './calls/decode.js';
import { expertCalls } from './calls/experts.js';
import { layerCalls } from './calls/layers.js';
import { lossCalls } from './calls/losses.js';
import { optimizerCalls } from './calls/optimizer.js';
import { productCalls } from './calls/products.js';
import { relativeAttentionCalls } from './calls/relative_attention.js';

export { type Bench, benchOf, type Call, valuesOf } from './calls/bench.js';
export { by } from './calls/products.js';

/*
 * Calls of native ops whose results two backends must agree on. They are chosen for the CUDA kernels: whole and partial tiles, rows
 * that cannot be copied 16 bytes at a time, windows, every template size; the definitions themselves are checked by test/ops.
 */
export const calls: readonly Call[] = [
  ...attentionCalls,
  ...relativeAttentionCalls,
  ...decodeCalls,
  ...layerCalls,
  ...productCalls,
  ...expertCalls,
  ...lossCalls,
  ...optimizerCalls,
];
