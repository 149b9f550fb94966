import type { Options } from 'yargs';
import {
  type ConfigKey,
  configKeys,
  type FlagValues,
  flagLayers,
  type Layer,
  type ResolvedConfig,
  resolveConfig,
  shortFlags,
} from '../../config/index.js';
import type { FlagSet } from './schema.js';

/**
 * `--config FILE` and one flag per setting of the run configuration, the schema's descriptions as their help. An open
 * section (`model`), whose keys the schema alone judges, has the hidden flags `model.*` too.
 */
export function runFlags(): FlagSet {
  const config: Options = { type: 'string', describe: 'a JSON file of settings; flags override it' };
  const settings = configKeys().flatMap((key): (readonly [string, Options])[] => {
    const own = [key.path, optionOf(key)] as const;
    return key.type === 'open' ? [own, [`${key.path}.*`, { hidden: true }]] : [own];
  });
  return { config, ...Object.fromEntries(settings) };
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
  const none =
    key.default === undefined || key.type === 'open' || (Array.isArray(key.default) && key.default.length === 0);
  return values + (none ? '' : `  [default: ${key.default}]`);
}

/** The configuration of a parsed command line: preset < the command's defaults < file < flags. */
export function configOf(args: FlagValues, defaults?: Layer): ResolvedConfig {
  return resolveConfig({
    defaults,
    file: typeof args.config === 'string' ? args.config : undefined,
    flags: flagLayers(args),
  });
}
