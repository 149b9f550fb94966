import { type ConfigKey, configKeys } from './keys.js';
import { type Layer, nest } from './layers.js';

/** Short flags of the settings that are given most often. */
export const shortFlags: Readonly<Record<string, string>> = {
  'data.sources': 'data',
  'train.steps': 'steps',
  'train.seed': 'seed',
  'train.dtype': 'dtype',
};

/** A parsed command line: flags as typed, without their dashes. */
export type FlagValues = Readonly<Record<string, unknown>>;

/**
 * One layer per flag that names a setting. A value that does not read as what its setting needs stays the text it is, so
 * that the check can show it.
 */
export function flagLayers(flags: FlagValues, keys: readonly ConfigKey[] = configKeys()): Layer[] {
  const layers: Layer[] = [];
  for (const key of keys) {
    if (key.type === 'open') {
      if (flags[key.path] !== undefined) layers.push(layer(key.path, last(flags[key.path])));
      for (const [name, value] of Object.entries(flags))
        if (name.startsWith(`${key.path}.`) && value !== undefined) layers.push(layer(name, openValue(last(value))));
    } else if (flags[key.path] !== undefined) {
      layers.push(layer(key.path, readValue(flags[key.path], key)));
    }
  }
  return layers;
}

function layer(path: string, value: unknown): Layer {
  return { source: `--${path}`, values: nest(path, value) };
}

function readValue(value: unknown, key: ConfigKey): unknown {
  switch (key.type) {
    case 'number':
      return readNumber(last(value));
    case 'boolean':
      return readBoolean(last(value));
    case 'array':
      return [value].flat().map((element) => (key.element === 'number' ? readNumber(element) : element));
    default:
      return last(value);
  }
}

/** A flag that is given twice counts as given the second time. */
function last(value: unknown): unknown {
  return Array.isArray(value) ? value.at(-1) : value;
}

function readNumber(value: unknown): unknown {
  if (typeof value !== 'string' || value.trim() === '') return value;
  const number = Number(value.replaceAll('_', ''));
  return Number.isNaN(number) ? value : number;
}

function readBoolean(value: unknown): unknown {
  return value === 'true' ? true : value === 'false' ? false : value;
}

/** A value whose kind only the model's own schema knows: JSON where it reads as JSON, else text. */
function openValue(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}
