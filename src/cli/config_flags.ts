import type { Argv, Options } from 'yargs';
import {
  type ConfigKey,
  configKeys,
  type FlagValues,
  flagLayers,
  type Layer,
  type ResolvedConfig,
  resolveConfig,
  shortFlags,
} from '../config/index.js';

// Imported lazily by the builders of the commands that take a run configuration: the schema's library is slow to load.

/**
 * Declares `--config FILE` and one flag per setting of the run configuration, the schema's descriptions as their help.
 * `words` is the raw command line: below an open section (`model`) any flag is taken, and the schema judges it.
 */
export function declareConfigFlags<T>(
  parser: Argv<T>,
  words: readonly string[] = process.argv,
): Argv<T & { config?: string }> {
  const declared = parser.option('config', { type: 'string', describe: 'a JSON file of settings; flags override it' });
  for (const key of configKeys()) {
    if (key.type === 'open') declareOpen(declared, key, words);
    else declared.option(key.path, optionOf(key));
  }
  return declared as Argv<T & { config?: string }>;
}

function optionOf(key: ConfigKey): Options {
  const section = key.path.split('.')[0]!;
  const alias = shortFlags[key.path];
  return {
    ...typeOf(key),
    describe: key.description + valuesOf(key),
    group: section === key.path ? 'Settings:' : `Settings of ${section}:`,
    ...(alias === undefined ? {} : { alias }),
  };
}

/** Numbers have no type here: they stay text, so that the configuration's own check can show what is wrong with them. */
function typeOf(key: ConfigKey): Options {
  if (key.type === 'array') return { type: 'array', string: true };
  if (key.type === 'boolean') return { type: 'boolean' };
  return key.type === 'number' ? { requiresArg: true } : { type: 'string', requiresArg: true };
}

function valuesOf(key: ConfigKey): string {
  const values = key.values ? `: ${key.values.join(', ')}` : '';
  const none = key.default === undefined || (Array.isArray(key.default) && key.default.length === 0);
  return values + (none ? '' : `  [default: ${key.default}]`);
}

function declareOpen(parser: Argv, key: ConfigKey, words: readonly string[]): void {
  const prefix = `--${key.path}.`;
  for (const word of words)
    if (word.startsWith(prefix)) parser.option(word.slice(2).split('=')[0]!, { type: 'string', hidden: true });
}

/** The configuration of a parsed command line: preset < the command's defaults < file < flags. */
export function configOf(args: FlagValues, defaults?: Layer): ResolvedConfig {
  return resolveConfig({
    defaults,
    file: typeof args.config === 'string' ? args.config : undefined,
    flags: flagLayers(args),
  });
}
