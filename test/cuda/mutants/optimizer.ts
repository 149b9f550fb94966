import type { Mutant } from './mutant.js';

/* Bugs in the optimizer, and in the sums that it shares with others. */

export const optimizerMutants: readonly Mutant[] = [
  {
    what: 'a block sum is read before it is written',
    file: 'cuda.cuh',
    find: '  if (threadIdx.x % kLanes == 0) shared[threadIdx.x / kLanes] = x;\n  __syncthreads();\n  T sum',
    replace: '  if (threadIdx.x % kLanes == 0) shared[threadIdx.x / kLanes] = x;\n  T sum',
    calls: ['adamw, sums', 'balance_loss'],
  },
  {
    what: "a moment is widened by the other's scale",
    file: 'optimizer_8bit.cu',
    find: 'm.at[i] = moments::firstOf(oldM.at[i], mScale);',
    replace: 'm.at[i] = moments::firstOf(oldM.at[i], rootScale);',
    calls: ['adamw: 8-bit'],
  },
  {
    what: 'two parameters are rounded by the same random word',
    file: 'adam.cuh',
    find: 'for (int j = 0; j < 4; j++) at[i + j] = p.word[j];',
    replace: 'for (int j = 0; j < 4; j++) at[i + j] = p.word[j & 2];',
    calls: ['adamw: 8-bit'],
  },
  {
    what: 'a block takes the tensor that begins after it',
    file: 'segments.cuh',
    find: 'if (all.first[middle] <= block) low = middle;',
    replace: 'if (all.first[middle] < block) low = middle;',
    calls: ['adamw, sums'],
  },
  {
    what: 'what is left of a tile after whole packs is passed over',
    file: 'segments.cuh',
    find: '(wide ? end - end % pack : begin)',
    replace: '(wide ? end : begin)',
    calls: ['adamw, sums'],
  },
  {
    what: 'a full launch is sent and its tensors kept for the next',
    file: 'segments.cuh',
    find: '    all_.count = 0;\n    blocks_ = 0;',
    replace:
      '    all_.count = all_.count < Segments<S>::kMost ? 0 : Segments<S>::kMost - 1;\n    blocks_ = all_.count;',
    calls: ['add_counts'],
  },
  {
    what: 'an update is made although it is forbidden',
    file: 'adam.cuh',
    find: 'return *scale == *scale;',
    replace: 'return true;',
    calls: ['adamw: nothing'],
  },
  {
    what: 'losses that are not finite forbid nothing',
    file: 'optimizer.cu',
    find: 'allowed &= finite(losses[i]);',
    replace: 'allowed &= finite(losses[0]);',
    calls: ['adamw: nothing'],
  },
];
