import { attentionMutants } from './mutants/attention.js';
import { hopperAttentionMutants } from './mutants/attention_hopper.js';
import { decodeMutants } from './mutants/decode.js';
import { expertMutants } from './mutants/experts.js';
import { layerMutants } from './mutants/layers.js';
import { lossMutants } from './mutants/losses.js';
import type { Mutant } from './mutants/mutant.js';
import { optimizerMutants } from './mutants/optimizer.js';
import { productMutants } from './mutants/products.js';
import { hopperProductMutants } from './mutants/products_hopper.js';
import { relativeAttentionMutants } from './mutants/relative_attention.js';

export type { Mutant } from './mutants/mutant.js';

/*
 * Bugs planted in the CUDA kernels: each is one edit of one file, and at least one of its calls must then fail on the emulator:
 * by a wrong number, a deadlock or a fault. They are the mistakes that such kernels are prone to.
 */
export const mutants: readonly Mutant[] = [
  ...productMutants,
  ...hopperProductMutants,
  ...hopperAttentionMutants,
  ...attentionMutants,
  ...relativeAttentionMutants,
  ...decodeMutants,
  ...lossMutants,
  ...expertMutants,
  ...optimizerMutants,
  ...layerMutants,
];
