/** Human preferences: reward models, and direct preference optimization. */
export type { DpoInput, RewardModelInput } from './config.js';
export type { PreferenceEnd, PreferenceEvent, PreferenceFacts, PreferenceRecord } from './events.js';
export type { PreferenceScore } from './figures.js';
export type { PreferenceHooks } from './run.js';
export { trainDpo, trainRewardModel } from './train.js';
