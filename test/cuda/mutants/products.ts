import type { Mutant } from './mutant.js';

/* Bugs in the products: the portable kernels, and what all of them share. */

export const productMutants: readonly Mutant[] = [
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
    find: 'g = base + lane, groups = static_cast<int>(p.batches) + 1;',
    replace: 'g = base + lane, groups = static_cast<int>(p.batches);',
    calls: ['grouped_linear'],
  },
  {
    what: 'a tile goes to the group before the one that begins with it',
    file: 'gemm/common.cuh',
    find: 'g < groups && before[g] <= index',
    replace: 'g < groups && before[g] < index',
    calls: ['grouped_linear by hopper'],
  },
  {
    what: 'f32 tiles are used before all threads have written them',
    file: 'gemm/plain.cu',
    find: '    __syncthreads();  // the other pair of tiles is free as well: whoever is here has used it\n',
    replace: '',
    calls: ['linear by f32'],
  },
  {
    what: 'the next f32 tiles take the place of those in use',
    file: 'gemm/plain.cu',
    find: 'buffer ^= 1) {',
    replace: 'buffer ^= 0) {',
    calls: ['linear by f32'],
  },
  {
    what: 'steps beyond the depth keep what they held',
    file: 'gemm/plain.cu',
    find: '        raw[u] = {};\n',
    replace: '',
    calls: ['linear by f32'],
  },
  {
    what: 'a unit that crosses the edge of its operand is read whole',
    file: 'gemm/plain.cu',
    find: 'first % kUnit == 0 && first + tile <= end',
    replace: 'first % kUnit == 0',
    calls: ['linear by f32'],
  },
  {
    what: 'groups of four are read where they were before they were swapped',
    file: 'gemm/plain.cu',
    find: 'from + placeOf<tile>(k, first + i / kPack * apart)',
    replace: 'from + k * tile + first + i / kPack * apart',
    calls: ['linear by f32'],
  },
  {
    what: 'the last piece of the depth is not added',
    file: 'gemm/pieces.cu',
    find: 'for (int64_t i = 1; i < count; i++) {',
    replace: 'for (int64_t i = 1; i + 1 < count; i++) {',
    calls: ['weight gradient in pieces'],
  },
  {
    what: 'the last piece of the depth reaches beyond the rows',
    file: 'gemm/common.cuh',
    find: 'least(p.k, (batch + 1) * p.piece)',
    replace: '(batch + 1) * p.piece',
    calls: ['weight gradient in pieces by portable'],
  },
];
