import { type R1Config, r1Schema, resolveR1 } from '../../recipes/settings.js';
import { schemaValues } from './schema.js';

/** The settings of a parsed command line: preset < flags. */
export const r1ConfigOf = (args: Readonly<Record<string, unknown>>): R1Config =>
  resolveR1(schemaValues(args, r1Schema));
