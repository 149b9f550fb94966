import { join } from 'node:path';
import { TrainMoeError } from '../errors.js';
import { contradictions, faulty, shapeFaults } from './faults.js';
import { readConfigFile } from './file.js';
import { configKeys } from './keys.js';
import { type Layer, leaves, type Merged, mergeLayers, type Settings } from './layers.js';
import { presets } from './presets.js';
import { type RunConfig, type RunConfigInput, runConfigSchema } from './schema.js';
import { suggest } from './suggest.js';

/** Where the parts of a configuration come from, from the weakest to the strongest: preset, defaults, file, flags. */
export interface ConfigParts {
  /** What a command sets where neither file nor flags do. */
  readonly defaults?: Layer | undefined;
  /** Path of a JSON file. */
  readonly file?: string | undefined;
  /** One layer per flag, in the order given. */
  readonly flags?: readonly Layer[];
}

/** A configuration that passed every check, and for each setting (by dotted path) who set it. */
export interface ResolvedConfig {
  readonly config: RunConfig;
  readonly sources: ReadonlyMap<string, string>;
}

/**
 * Merges preset < the command's defaults < file < flags over the defaults and checks the result.
 * @throws TrainMoeError `bad-config` with every fault, its path and where it was set.
 */
export function resolveConfig({ defaults, file, flags = [] }: ConfigParts): ResolvedConfig {
  const above = [...(defaults ? [defaults] : []), ...(file === undefined ? [] : [readConfigFile(file)]), ...flags];
  return checkConfig(mergeLayers([presetLayer(mergeLayers(above)), ...above]));
}

/**
 * The same from an object in a program: the preset it names, then the object.
 *
 *     defineConfig({ preset: 'nano', data: { sources: ['my-texts/'] }, train: { steps: 2000 } })
 *
 * @throws TrainMoeError `bad-config` with every fault and its path
 */
export function defineConfig(values: RunConfigInput): RunConfig {
  const layer = { source: 'the object given', values };
  return checkConfig(mergeLayers([presetLayer(mergeLayers([layer])), layer])).config;
}

function presetLayer(above: Merged): Layer {
  const name = above.values.preset ?? runConfigSchema.shape.preset.def.defaultValue;
  if (typeof name !== 'string') return { source: 'no preset', values: {} }; // the schema says what is wrong with it
  if (!Object.hasOwn(presets, name)) {
    const meant = suggest(name, Object.keys(presets));
    throw new TrainMoeError(
      'bad-config',
      `The preset "${name}"${setBy(above)} does not exist; ${meant ? `did you mean "${meant}"? There` : 'there'} are ${Object.keys(presets).join(', ')}.`,
    );
  }
  return { source: `preset ${name}`, values: presets[name] as Settings };
}

const setBy = (above: Merged): string => (above.sources.has('preset') ? ` (${above.sources.get('preset')})` : '');

function checkConfig(merged: Merged): ResolvedConfig {
  const parsed = runConfigSchema.safeParse(merged.values);
  if (!parsed.success) throw faulty('The configuration', 'has', shapeFaults(parsed.error, merged, configKeys()));
  const config: RunConfig = { ...parsed.data, out: parsed.data.out ?? join('runs', parsed.data.preset) };
  const faults = contradictions(config);
  if (faults.length > 0) throw faulty('The configuration', 'has', faults);
  const sources = new Map<string, string>();
  for (const [path] of leaves(config)) sources.set(path, merged.sources.get(path) ?? 'default');
  return { config, sources };
}
