import type { Argv } from 'yargs';
import { type R1Config, r1Schema, resolveR1 } from '../../recipes/settings.js';
import { declareSchemaFlags, schemaValues } from '../schema_flags.js';

/** Declares one flag per option of the recipe. */
export const declareR1Flags = <T>(parser: Argv<T>): Argv<T & Record<string, unknown>> =>
  declareSchemaFlags(parser, r1Schema);

/** The settings of a parsed command line: preset < flags. */
export const r1ConfigOf = (args: Readonly<Record<string, unknown>>): R1Config =>
  resolveR1(schemaValues(args, r1Schema));
