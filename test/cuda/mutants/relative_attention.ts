import type { Mutant } from './mutant.js';

/* Bugs in attention with scores of distances and types. */

const file = 'relative_attention.cu';
const calls = ['relative_attention'];

export const relativeAttentionMutants: readonly Mutant[] = [
  {
    what: 'places of positions are counted from the first key of all',
    file,
    find: 'n.places + offsets[row] + j]',
    replace: 'n.places + offsets[row] + s]',
    calls,
  },
  {
    what: 'a row whose first keys are all hidden takes the exponential of nothing',
    file,
    find: '    if (higher == -INFINITY) continue;  // all hidden so far\n',
    replace: '',
    calls,
  },
  {
    what: 'places before the first key keep what their gradient held',
    file,
    find: 'if (p < in.offsets[row] || p >= in.offsets[row] + keys) dposition[p] = 0;',
    replace: 'if (p >= in.offsets[row] + keys) dposition[p] = 0;',
    calls,
  },
  {
    what: 'gradients of keys come from rows that do not see them',
    file,
    find: ' && in.sees(first + lane, s - range.begin));',
    replace: ');',
    calls,
  },
];
