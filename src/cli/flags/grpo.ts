import { type Algorithm, algorithms, type GrpoConfig, grpoSchema, resolveGrpo } from '../../rl/config.js';
import { type FlagSet, schemaFlags, schemaValues } from './schema.js';

/** `--config`, one flag per setting of GRPO, and `--algorithm`. */
export function grpoFlags(): FlagSet {
  const algorithm = {
    type: 'string',
    default: 'grpo',
    requiresArg: true,
    describe: `published settings to start from: ${Object.keys(algorithms).join(', ')}`,
  } as const;
  return { ...schemaFlags(grpoSchema), algorithm };
}

/** The settings of a parsed command line: algorithm < file < flags. */
export function grpoConfigOf(args: Readonly<Record<string, unknown>>): GrpoConfig {
  return resolveGrpo(schemaValues(args, grpoSchema), String(args.algorithm) as Algorithm);
}
