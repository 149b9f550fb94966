import type { Argv } from 'yargs';
import { algorithms, type GrpoConfig, grpoSchema, resolveGrpo } from '../../rl/config.js';
import { declareSchemaFlags, schemaValues } from '../schema_flags.js';

/** Declares `--config`, `--algorithm` and one flag per setting of GRPO. */
export function declareGrpoFlags<T>(parser: Argv<T>): Argv<T & Record<string, unknown>> {
  return declareSchemaFlags(parser, grpoSchema).option('algorithm', {
    type: 'string',
    default: 'grpo',
    requiresArg: true,
    describe: `published settings to start from: ${Object.keys(algorithms).join(', ')}`,
  }) as unknown as Argv<T & Record<string, unknown>>;
}

/** The settings of a parsed command line: algorithm < file < flags. */
export function grpoConfigOf(args: Readonly<Record<string, unknown>>): GrpoConfig {
  return resolveGrpo(schemaValues(args, grpoSchema), String(args.algorithm));
}
