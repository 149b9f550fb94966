import type { Mutant } from './mutant.js';

/* Bugs in attention over pages. */

export const decodeMutants: readonly Mutant[] = [
  {
    what: 'spans are added without their weights',
    file: 'decode.cu',
    find: 'o.at[i] = join(o.at[i], right.o.at[i], w);',
    replace: 'o.at[i] += right.o.at[i];',
    calls: ['attention_decode: grouped'],
  },
  {
    what: 'spans of a block are not joined where the row ends',
    file: 'decode_tensor.cuh',
    find: '(node & size || last)',
    replace: '(node & size)',
    calls: ['mla_decode: 12'],
  },
  {
    what: 'a block joins its last span with the one before the left ones',
    file: 'decode_tensor.cuh',
    find: 'job.count - 1), node - 1);',
    replace: 'job.count - 1), node - size);',
    calls: ['mla_decode: 12'],
  },
  {
    what: 'scores are used before all parts of the channels are there',
    file: 'decode_tensor.cuh',
    find: 'steps);\n    __syncthreads();',
    replace: 'steps);',
    calls: ['mla_decode'],
  },
  {
    what: 'values are summed before all probabilities are written',
    file: 'decode_tensor.cuh',
    find: 'log2, last);\n    __syncthreads();',
    replace: 'log2, last);',
    calls: ['mla_decode'],
  },
  {
    what: 'a stage is used when this thread has its own keys',
    file: 'decode_tensor.cuh',
    find: 'waitStage(layout.stages);\n    __syncthreads();',
    replace: 'waitStage(layout.stages);',
    calls: ['mla_decode'],
  },
  {
    what: 'a stage is used before it has come',
    file: 'decode_tensor.cuh',
    find: 'waitStage(layout.stages);',
    replace: 'waitStage(layout.stages + 1);',
    calls: ['mla_decode: 16'],
  },
  {
    what: 'a stage is filled while values are still read',
    file: 'decode_tensor.cuh',
    find: 'firstCol);\n    __syncthreads();',
    replace: 'firstCol);',
    calls: ['mla_decode'],
  },
  {
    what: 'a page is found by the row instead of its sequence',
    file: 'decode.cuh',
    find: 'pages + sequence[row] * pagesPerSequence',
    replace: 'pages + row * pagesPerSequence',
    calls: ['mla_decode', 'attention_decode'],
  },
  {
    what: 'rows that see other keys share a block',
    file: 'decode_block.cuh',
    find: 'same &= a[p] == b[p];',
    replace: 'same &= a == a && b == b;',
    calls: ['shared pages'],
  },
  {
    what: 'all rows of a block see as many keys as its first',
    file: 'decode_tensor.cuh',
    find: 's.endOf[head] - first',
    replace: 's.endOf[0] - first',
    calls: ['shared pages', 'attention_decode: grouped'],
  },
  {
    what: 'the work of a block is kept for its own row',
    file: 'decode_tensor.cuh',
    find: 'd.partAt(job.bundle + s.rowOf[place], s.headOf[place], node)',
    replace: 'd.partAt(job.bundle + s.rowOf[0], s.headOf[place], node)',
    calls: ['shared pages'],
  },
];
