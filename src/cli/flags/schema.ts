import type { Options } from 'yargs';
import { z } from 'zod';
import { readConfigFile } from '../../config/file.js';
import { flagOf } from '../../config/flag_name.js';
import { type Layer, mergeLayers, nest } from '../../config/layers.js';

/** Flags of a command by their names, as yargs takes them: plain data, which the build can write down. */
export type FlagSet = Readonly<Record<string, Options>>;

/** One setting as the schema's JSON form describes it. */
interface Setting {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly items?: { readonly type?: string };
  readonly properties?: Readonly<Record<string, Setting>>;
}

/** Every setting of a schema with its dotted path; a section of fixed keys stands for what is in it. */
function settingsOf(schema: z.ZodType): [path: string, setting: Setting][] {
  const walk = (setting: Setting, path: string): [string, Setting][] =>
    setting.properties
      ? Object.entries(setting.properties).flatMap(([name, inner]) => walk(inner, path ? `${path}.${name}` : name))
      : [[path, setting]];
  return walk(z.toJSONSchema(schema, { io: 'input' }) as Setting, '');
}

/** A flag's name without its dashes, as yargs knows it. */
const kebab = (path: string): string => flagOf(path).slice(2);

/** `--config` and one flag per setting of a schema, with the schema's descriptions as their help. */
export function schemaFlags(schema: z.ZodType): FlagSet {
  const config: Options = {
    type: 'string',
    requiresArg: true,
    describe: 'a JSON file of settings; flags override it',
  };
  const settings = settingsOf(schema).map(([path, setting]) => [kebab(path), optionOf(setting)] as const);
  return { config, ...Object.fromEntries(settings) };
}

function optionOf({ type, enum: values, description = '', default: preset }: Setting): Options {
  const shown = preset === undefined || typeof preset === 'object' ? '' : `  [default: ${preset}]`;
  const describe = description + (values ? `: ${values.join(', ')}` : '') + shown;
  if (type === 'boolean') return { type: 'boolean', describe };
  // Numbers stay text here, so that the schema's own check can show what is wrong with them.
  return type === 'array' ? { type: 'array', string: true, describe } : { type: 'string', requiresArg: true, describe };
}

/** What a parsed command line sets, unchecked: file < flags. @throws TrainMoeError when the file is no JSON object */
export function schemaValues<S extends z.ZodType>(args: Readonly<Record<string, unknown>>, schema: S): z.input<S> {
  const layers: Layer[] = typeof args.config === 'string' ? [readConfigFile(args.config)] : [];
  for (const [path, setting] of settingsOf(schema)) {
    const value = args[path] ?? args[kebab(path)];
    if (value !== undefined) layers.push({ source: flagOf(path), values: nest(path, readValue(value, setting)) });
  }
  return mergeLayers(layers).values as z.input<S>; // whether they are is told by the schema's own check
}

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
