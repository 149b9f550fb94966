import type { ShapeLists } from './jobs.js';

/** Shapes for tokenizers. */
export const textShapes: ShapeLists = {
  bpe_train: [
    { name: 'vocab-4096', vocab: 4096 },
    { name: 'vocab-32768', vocab: 32768 },
  ],
  bpe_encode: [
    { name: 'vocab-4096', vocab: 4096 },
    { name: 'vocab-32768', vocab: 32768 },
  ],
};
