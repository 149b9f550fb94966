import { join } from 'node:path';
import { TrainMoeError } from '../errors.js';
import { contradictions, faulty, shapeFaults } from './faults.js';
import { readConfigFile } from './file.js';
import type { RunConfigInput } from './inputs.gen.js';
import { configKeys } from './keys.js';
import { isSettings, type Layer, leaves, type Merged, mergeLayers, type Settings } from './layers.js';
import { presets } from './presets.js';
import { type RunConfig, runConfigSchema } from './schema.js';
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
  const given = [...(file === undefined ? [] : [readConfigFile(file)]), ...flags];
  refuseBesideModel(given);
  const above = [...(defaults ? [defaults] : []), ...given];
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
  const layer = { source: 'the object given', values: { ...values } };
  refuseBesideModel([layer]);
  return checkConfig(mergeLayers([presetLayer(mergeLayers([layer])), layer])).config;
}

/** A model to go on from has its own shape and vocabulary. @throws TrainMoeError `bad-config` naming what says otherwise */
function refuseBesideModel(given: readonly Layer[]): void {
  const from = given.findLast(({ values }) => typeof values.model === 'string');
  if (!from) return;
  const others = given.flatMap(({ source, values: { preset, model, tokenizer } }) => {
    const { vocabSize, trainBytes } = isSettings(tokenizer) ? tokenizer : {};
    const chosen = { preset, ...(isSettings(model) && { model }), tokenizer: { vocabSize, trainBytes } };
    return [...leaves(chosen)].filter(([, value]) => value !== undefined).map(([path]) => `${path} (${source})`);
  });
  if (others.length === 0) return;
  throw new TrainMoeError(
    'bad-config',
    `model = ${JSON.stringify(from.values.model)} (${from.source}) brings its own shape and vocabulary; leave out ${others.join(', ')}.`,
  );
}

function presetLayer(above: Merged): Layer {
  if (typeof above.values.model === 'string') return { source: 'no preset', values: {} };
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
  const { preset, model, out = join('runs', typeof model === 'string' ? 'pretrain' : preset) } = parsed.data;
  const config: RunConfig = { ...parsed.data, out };
  const faults = contradictions(config);
  if (faults.length > 0) throw faulty('The configuration', 'has', faults);
  const sources = new Map<string, string>();
  for (const [path] of leaves(config)) sources.set(path, merged.sources.get(path) ?? 'default');
  return { config, sources };
}
