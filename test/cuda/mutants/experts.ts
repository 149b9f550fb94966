import type { Mutant } from './mutant.js';

/* Bugs in what a mixture of experts does around its products. */

export const expertMutants: readonly Mutant[] = [
  {
    what: 'shared memory is used one element past its end',
    file: 'sort.cu',
    find: 'launch(placeItems, blocks(chunks), kThreads, 2 * kChunkItems * sizeof(int32_t)',
    replace: 'launch(placeItems, blocks(chunks), kThreads, (2 * kChunkItems - 4) * sizeof(int32_t)',
    calls: ['moe_plan'],
    says: /shared memory was touched \d+ bytes past its end/,
  },
  {
    what: 'the sort counts down within a chunk',
    file: 'sort.cu',
    find: 'for (int j = 0; j < kChunkItems; j++)\n      if (items[j] == b) mine[j] = at++;',
    replace: 'for (int j = kChunkItems - 1; j >= 0; j--)\n      if (items[j] == b) mine[j] = at++;',
    calls: ['moe_plan'],
  },
  {
    what: 'router biases move with the load',
    file: 'router_bias.cu',
    find: '((mean > n) - (mean < n))',
    replace: '((mean < n) - (mean > n))',
    calls: ['add_counts'],
  },
  {
    what: 'the mean load is that of one warp',
    file: 'router_bias.cu',
    find: 'blockSum(sum, reduce) / static_cast<double>(q.experts)',
    replace: 'warpSum(sum) / static_cast<double>(q.experts)',
    calls: ['add_counts'],
  },
  {
    what: 'a run of one id ends with what is loaded at once',
    file: 'embedding.cu',
    find: 'if (rows[kAhead - 1] < 0) break;',
    replace: 'break;',
    calls: ['moe_plan'],
  },
  {
    what: "a token combines its neighbour's first choice as well",
    file: 'moe.cu',
    find: 'first + k < each ? inverse',
    replace: 'first + k <= each ? inverse',
    calls: ['combine'],
  },
  {
    what: 'a second pack is taken where the row has ended',
    file: 'moe.cu',
    find: 'const bool second = col + kLanes * n < a.width;',
    replace: 'const bool second = true;',
    calls: ['combine'],
  },
  {
    what: 'rows that no token refers to keep what they held',
    file: 'moe.cu',
    find: 'if (row >= rows || used[row]) return;',
    replace: 'if (row >= rows - 1 || used[row]) return;',
    calls: ['combine'],
  },
  {
    what: 'sums of the next counts take the place of the last',
    file: 'sort.cu',
    find: 'turn ^= kLanes) {',
    replace: 'turn ^= 0) {',
    calls: ['moe_plan'],
  },
  {
    what: 'counts are added up anew for every piece',
    file: 'sort.cu',
    find: 'before += __shfl_sync',
    replace: 'before = __shfl_sync',
    calls: ['moe_plan: more'],
  },
  {
    what: 'a block writes its counts before all its warps have chosen',
    file: 'router.cu',
    find: '(n + a.choice.groups), counts, lane);\n  __syncthreads();',
    replace: '(n + a.choice.groups), counts, lane);',
    calls: ['router'],
  },
  {
    what: 'counts of the last warp of blocks are left out',
    file: 'router.cu',
    find: 'for (int w = 1; w < kWarps; w++) sum += shared',
    replace: 'for (int w = 1; w + 1 < kWarps; w++) sum += shared',
    calls: ['router'],
  },
];
