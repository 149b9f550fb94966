import type { Mutant } from './mutant.js';

/* Bugs in the losses. */

export const lossMutants: readonly Mutant[] = [
  {
    what: 'a choice is marked by every lane at its own time',
    file: 'balance.cu',
    find: '      e = bestOf(c, b.n, lane).at;\n      __syncwarp();',
    replace: '      e = bestOf(c, b.n, lane).at + (k > 0);',
    calls: ['balance_loss'],
  },
  {
    what: "a sample's ratio is that of one warp's tokens",
    file: 'policy_loss.cu',
    find: 'drift = {blockSum(drift.moved, reduce),',
    replace: 'drift = {warpSum(drift.moved),',
    calls: ['policy_loss'],
  },
  {
    what: 'the figures of samples beyond the 32nd are left out',
    file: 'policy_loss.cu',
    find: 'for (int64_t i = lane; i < samples; i += kLanes) sum +=',
    replace: 'if (const int64_t i = lane; i < samples) sum +=',
    calls: ['policy_loss'],
  },
  {
    what: 'rows that no token names keep what they held',
    file: 'policy_loss.cu',
    find: '  clearRows(dnll);\n',
    replace: '',
    calls: ['policy_loss'],
  },
  {
    what: "an answer's value is that of the first warp's tokens",
    file: 'preference_loss.cu',
    find: '  sum = blockSum(sum, reduce);\n',
    replace: '  sum = warpSum(sum);\n',
    calls: ['preference_loss'],
  },
  {
    what: 'pairs beyond one block of threads are left out of the loss',
    file: 'preference_loss.cu',
    find: 'i < count; i += kThreads)',
    replace: 'i < least(count, int64_t{kThreads}); i += kThreads)',
    calls: ['preference_loss'],
  },
];
