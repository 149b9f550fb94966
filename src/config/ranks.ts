import { z } from 'zod';

/** Settings of runs that several processes can share. */
export const rankFields = {
  ranks: z
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe('processes that share each step, one a GPU, or so many of the CPU (data parallel, ZeRO-1)'),
  rankTimeout: z
    .number()
    .positive()
    .default(600)
    .describe('seconds that a rank waits for another one before the run ends with an error'),
};
