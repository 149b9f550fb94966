export { readConfigFile } from './file.js';
export { type FlagValues, flagLayers, shortFlags } from './flags.js';
export type { RunConfigInput } from './inputs.gen.js';
export { type ConfigKey, configKeys, jsonSchema } from './keys.js';
export type { Layer, Settings } from './layers.js';
export { presets } from './presets.js';
export { type ConfigParts, defineConfig, type ResolvedConfig, resolveConfig } from './resolve.js';
export { type RunConfig, runConfigSchema } from './schema.js';
export { checkSettings } from './settings.js';
