import type { Mutant } from './mutant.js';

/* Bugs in the small layers of a model. */

export const layerMutants: readonly Mutant[] = [
  {
    what: 'sums of the next rows are written while those of the last are read',
    file: 'norm.cuh',
    find: 'sums(dot, sumBuffer(second));',
    replace: 'sums(dot, sumBuffer(false));',
    calls: ['norms'],
  },
  {
    what: 'a slab takes the first row of the next as well',
    file: 'norm.cuh',
    find: 'const Held<rows, packs, T> v(x, row, end, cols), d(dy, row, end, cols);',
    replace: 'const Held<rows, packs, T> v(x, row, end + 1, cols), d(dy, row, end + 1, cols);',
    calls: ['norms'],
  },
  {
    what: 'columns beyond the row count to its mean',
    file: 'norm.cuh',
    find: 'columnOf(p) < cols ? v.get(i, p, j) - m[i] : 0.f',
    replace: 'v.get(i, p, j) - m[i]',
    calls: ['norms'],
  },
  {
    what: 'sums of warps are read before they are written',
    file: 'slabs.cu',
    find: '  __syncthreads();\n',
    replace: '',
    calls: ['norms', 'linear: ['],
  },
  {
    what: 'a sum is written one column past the end of its tensor',
    file: 'slabs.cu',
    find: 'threadIdx.x < kLanes && col < cols) accumulate(',
    replace: 'threadIdx.x < kLanes && col <= cols) accumulate(',
    calls: ['linear: ['],
    says: /linear_backward: memory past the end of an allocation of \d+ bytes was written/,
  },
  {
    what: 'a thread turns heads that there are not',
    file: 'rope.cu',
    find: '    if (first + i * step >= t.heads) continue;\n',
    replace: '',
    calls: ['rope'],
  },
  {
    what: 'sines begin among the cosines',
    file: 'rope.cu',
    find: 'load<n>(angles + t.half)',
    replace: 'load<n>(angles + t.half - (pair > 0 ? 0 : n - 1))',
    calls: ['rope'],
  },
  {
    what: 'a warp names the last of equal ones',
    file: 'best.cuh',
    find: '__reduce_min_sync(kAll, rank == most ? x.at : kNowhere)',
    replace: '-__reduce_min_sync(kAll, rank == most ? -x.at : kNowhere)',
    calls: ['sample: greedy'],
  },
  {
    what: '-0 is less than 0 to a warp',
    file: 'best.cuh',
    find: '__float_as_uint(x + 0.f)',
    replace: '__float_as_uint(x)',
    calls: ['sample: greedy'],
  },
];
