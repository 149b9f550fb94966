import type { Mutant } from './mutant.js';

/* Bugs in the portable attention, and in the tiles that it reads. */

export const attentionMutants: readonly Mutant[] = [
  {
    what: 'chunks are swizzled by half of the row',
    file: 'tile.cuh',
    find: 'chunk(int row, int chunk) const { return data + (row * chunks + fragment::swizzle(row, chunk, chunks)) * kChunk; }\n  __device__ __forceinline__ bf16* at(int row, int col) const { return chunk(row, col / kChunk) + col % kChunk; }',
    replace:
      'chunk(int row, int chunk) const { return data + (row * chunks + fragment::swizzle(row, chunk, chunks)) * kChunk; }\n  __device__ __forceinline__ bf16* at(int row, int col) const { return data + (row * chunks + fragment::swizzle(row / 2, col / kChunk, chunks)) * kChunk + col % kChunk; }',
    calls: ['attention: grouped'],
  },
  {
    what: 'idle warps leave before the barrier',
    file: 'attention_forward.cu',
    find: '  Running run;\n',
    replace: '  Running run;\n  if (first + warp * 16 >= f.n.rows) return;\n',
    calls: ['attention'],
    says: /deadlock: .*threads \d+-\d+ wait in __syncthreads/,
  },
  {
    what: 'the diagonal is off by one',
    file: 'attention_forward.cu',
    find: 'if (at < r.begin || at >= r.end)',
    replace: 'if (at < r.begin || at > r.end)',
    calls: ['attention: grouped'],
  },
  {
    what: 'earlier results do not fade when the maximum rises',
    file: 'attention_forward.cu',
    find: 'o[0][j][e] *= fade[e / 2];',
    replace: 'o[0][j][e] *= fade[0];',
    calls: ['attention: causal'],
  },
  {
    what: 'the next keys are copied while the scores still read the last',
    file: 'attention_forward.cu',
    find: '    multiply<false, false>(s, q, warp * 16, k, 0, kDepth);\n    __syncthreads();',
    replace: '    multiply<false, false>(s, q, warp * 16, k, 0, kDepth);',
    calls: ['attention: causal', 'attention: grouped'],
  },
  {
    what: 'probabilities are used before all warps have written them',
    file: 'attention_backward.cu',
    find: '      scoreTile<true>(m, a, row, static_cast<int>(key));\n      __syncthreads();',
    replace: '      scoreTile<true>(m, a, row, static_cast<int>(key));',
    calls: ['attention: causal', 'attention: grouped'],
  },
  {
    what: 'the shared key sums one head group alone',
    file: 'attention.cu',
    find: 'for (int g = 0; g < groups; g++) {',
    replace: 'for (int g = 0; g < 1; g++) {',
    calls: ['attention: causal'],
  },
];
