import { readFileSync } from 'node:fs';
import type { Argv, Options } from 'yargs';
import { z } from 'zod';
import { TrainMoeError } from '../../errors.js';
import { algorithms, type GrpoConfig, grpoSchema, resolveGrpo } from '../../rl/config.js';

/** One setting as the schema's JSON form describes it. */
interface Setting {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly items?: { readonly type?: string };
}

/** A schema of flat settings, each of which becomes a flag. */
type Schema = z.ZodObject;

const settingsOf = (schema: Schema): [string, Setting][] =>
  Object.entries((z.toJSONSchema(schema, { io: 'input' }) as { properties: Record<string, Setting> }).properties);

const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** Declares `--config` and one flag per setting of the schema, with its descriptions as their help. */
export function declareFlags<T>(parser: Argv<T>, schema: Schema): Argv<T & Record<string, unknown>> {
  const declared = parser.option('config', {
    type: 'string',
    requiresArg: true,
    describe: 'a JSON file of settings; flags override it',
  });
  for (const [name, setting] of settingsOf(schema)) declared.option(kebab(name), optionOf(setting));
  return declared as unknown as Argv<T & Record<string, unknown>>;
}

/** Declares `--algorithm` and the flags of GRPO. */
export function declareGrpoFlags<T>(parser: Argv<T>): Argv<T & Record<string, unknown>> {
  const describe = `published settings to start from: ${Object.keys(algorithms).join(', ')}`;
  const declared = declareFlags(parser, grpoSchema);
  declared.option('algorithm', { type: 'string', default: 'grpo', requiresArg: true, describe });
  return declared;
}

function optionOf({ type, enum: values, description = '', default: preset }: Setting): Options {
  const shown = preset === undefined || typeof preset === 'object' ? '' : `  [default: ${preset}]`;
  const describe = description + (values ? `: ${values.join(', ')}` : '') + shown;
  if (type === 'boolean') return { type: 'boolean', describe };
  // Numbers stay text here, so that the schema's own check can show what is wrong with them.
  return type === 'array' ? { type: 'array', string: true, describe } : { type: 'string', requiresArg: true, describe };
}

/** The settings of a parsed command line: file < flags. */
export function givenSettings(args: Readonly<Record<string, unknown>>, schema: Schema): Record<string, unknown> {
  const given: Record<string, unknown> = typeof args.config === 'string' ? readSettings(args.config) : {};
  for (const [name, setting] of settingsOf(schema)) {
    const value = args[name];
    if (value !== undefined) given[name] = readValue(value, setting);
  }
  return given;
}

/** The settings of GRPO: algorithm < file < flags. */
export const grpoConfigOf = (args: Readonly<Record<string, unknown>>): GrpoConfig =>
  resolveGrpo(givenSettings(args, grpoSchema), String(args.algorithm));

function readValue(value: unknown, { type, items }: Setting): unknown {
  if (type === 'array') return [value].flat().map((v) => (items?.type === 'string' ? v : number(v)));
  const last = Array.isArray(value) ? value.at(-1) : value;
  if (type === 'number' || type === 'integer') return number(last);
  return type === 'object' ? json(last) : last;
}

function number(text: unknown): unknown {
  const value = typeof text === 'string' && text.trim() !== '' ? Number(text.replaceAll('_', '')) : Number.NaN;
  return Number.isNaN(value) ? text : value;
}

function json(text: unknown): unknown {
  try {
    return JSON.parse(String(text));
  } catch {
    return text;
  }
}

function readSettings(path: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new TrainMoeError('not-found', `The settings ${path} cannot be read: ${(cause as Error).message}.`, {
      cause,
    });
  }
  const value = json(text);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new TrainMoeError('bad-config', `${path} holds no JSON object of settings.`);
}
