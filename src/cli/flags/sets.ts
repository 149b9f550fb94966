import type { z } from 'zod';
import type { FlagSet } from './schema.js';

/** The commands whose flags come from a schema, and how to make them: slow, as the schemas and their library are loaded. */
export const flagSets = {
  run: async () => (await import('./run.js')).runFlags(),
  grpo: async () => (await import('./grpo.js')).grpoFlags(),
  sft: async () => flagsOf((await import('../../train/sft/config.js')).sftSchema),
  rewardModel: async () => flagsOf((await import('../../rl/preference/config.js')).rewardModelSchema),
  dpo: async () => flagsOf((await import('../../rl/preference/config.js')).dpoSchema),
  reject: async () => flagsOf((await import('../../rl/curate/config.js')).rejectSchema),
  synthesize: async () => flagsOf((await import('../../rl/curate/config.js')).synthesizeSchema),
  serve: async () => flagsOf((await import('../../serve/config.js')).serveSchema),
  r1: async () => flagsOf((await import('../../recipes/settings.js')).r1Schema),
} satisfies Record<string, () => Promise<FlagSet>>;

export type FlagSetName = keyof typeof flagSets;

async function flagsOf(schema: z.ZodType): Promise<FlagSet> {
  return (await import('./schema.js')).schemaFlags(schema);
}
