/*
 * Bugs planted in the CUDA kernels: each is one edit of one file, and at least one of its calls must then fail on the emulator:
 * by a wrong number, a deadlock or a fault. They are the mistakes that such kernels are prone to.
 */
export interface Mutant {
  readonly what: string;
  /** Below kernels/cuda. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Begins of the names of the calls (calls.ts) that are to notice. */
  readonly calls: readonly string[];
  /** What the emulator is to say, where it can tell. */
  readonly says?: RegExp;
}

export const mutants: readonly Mutant[] = [
  {
    what: 'a product reads a stage without a barrier after the wait',
    file: 'gemm/tensor.cu',
    find: '    ptx::waitGroups<S::kStages - 2>();\n    __syncthreads();',
    replace: '    ptx::waitGroups<S::kStages - 2>();',
    calls: ['linear'],
  },
  {
    what: 'a product waits for one stage too few',
    file: 'gemm/tensor.cu',
    find: 'ptx::waitGroups<S::kStages - 2>();',
    replace: 'ptx::waitGroups<S::kStages - 1>();',
    calls: ['linear'],
  },
  {
    what: 'the ring of stages is filled one step early, while it is still read',
    file: 'gemm/tensor.cu',
    find: 'fill(step + S::kStages - 1);',
    replace:
      'fill(step + S::kStages - 1); if (step + 1 < steps) fillTile(tileA((step + 1) % S::kStages), 1, a, part.row, part.rowEnd, part.k, part.kEnd, S::kThreads);',
    calls: ['linear'],
  },
  {
    what: 'chunks are swizzled by half of the row',
    file: 'tile.cuh',
    find: 'chunk(int row, int chunk) const { return data + (row * chunks + fragment::swizzle(row, chunk, chunks)) * kChunk; }\n  __device__ __forceinline__ bf16* at(int row, int col) const { return chunk(row, col / kChunk) + col % kChunk; }',
    replace:
      'chunk(int row, int chunk) const { return data + (row * chunks + fragment::swizzle(row, chunk, chunks)) * kChunk; }\n  __device__ __forceinline__ bf16* at(int row, int col) const { return data + (row * chunks + fragment::swizzle(row / 2, col / kChunk, chunks)) * kChunk + col % kChunk; }',
    calls: ['attention: grouped'],
  },
  {
    what: 'the last partial tile of columns is written one column short',
    file: 'gemm/tensor.cu',
    find: 'if (row >= part.rowEnd || at >= p.n) continue;',
    replace: 'if (row >= part.rowEnd || at >= p.n - 1) continue;',
    calls: ['linear'],
  },
  {
    what: 'a gradient that exists is overwritten',
    file: 'gemm/common.cuh',
    find: 'const float beta = p.c.add ? 1.f : 0.f;',
    replace: 'const float beta = 0.f;',
    calls: ['linear'],
  },
  {
    what: 'an expert gets the tile of its neighbour',
    file: 'gemm/common.cuh',
    find: '__ballot_sync(kAll, before + upTo > index)',
    replace: '__ballot_sync(kAll, before + upTo >= index)',
    calls: ['grouped_linear'],
  },
  {
    what: 'rows of nobody are not cleared',
    file: 'gemm/common.cuh',
    find: 'const int groups = static_cast<int>(p.batches) + 1;',
    replace: 'const int groups = static_cast<int>(p.batches);',
    calls: ['grouped_linear'],
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
  {
    what: 'spans are merged without their sums',
    file: 'decode.cu',
    find: 'out += d.partAt(row, head, s)[c] * expf(d.partAt(row, head, s)[d.values] - top);',
    replace: 'out += d.partAt(row, head, s)[c];',
    calls: ['attention_decode: grouped'],
  },
  {
    what: 'a page is found by the row instead of its sequence',
    file: 'decode.cu',
    find: 'pages[sequence[row] * pagesPerSequence',
    replace: 'pages[row * pagesPerSequence',
    calls: ['mla_decode', 'attention_decode'],
  },
  {
    what: 'a block sum is read before it is written',
    file: 'cuda.cuh',
    find: '  if (threadIdx.x % kLanes == 0) shared[threadIdx.x / kLanes] = x;\n  __syncthreads();\n  T sum',
    replace: '  if (threadIdx.x % kLanes == 0) shared[threadIdx.x / kLanes] = x;\n  T sum',
    calls: ['adamw', 'balance_loss'],
  },
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
    what: 'a choice is marked by every lane at its own time',
    file: 'balance.cu',
    find: '      e = bestOf(c, b.n, lane).at;\n      __syncwarp();',
    replace: '      e = bestOf(c, b.n, lane).at + (k > 0);',
    calls: ['balance_loss'],
  },
];
