/**
 * The blocks that models are built of. A block is two things: a function that says which parameters it has (`feedSpec(..)`), and
 * one that computes with them (`feed(weights, x)`). initialize() turns specifications into weights of the same shape.
 *
 * Tokens of all sequences lie one below the other, T = rows * length, and a Layout says who sees whom.
 */
export { type AttendConfig, type AttendWeights, attend, attendSpec } from './attend.js';
export { attendLatent, type LatentConfig, type LatentWeights, latentSpec } from './attend_latent.js';
export {
  attendRelative,
  attendRelativeSpec,
  distanceTable,
  type RelativeConfig,
  type RelativeKeys,
  type RelativeWeights,
  relativeKeys,
} from './attend_relative.js';
export { type BlockWeights, block, blockOrRecompute, type Layer, postNormBlock } from './block.js';
export type { KvCache, LayerCache } from './cache.js';
export { type DecoderWeights, decoder } from './decoder.js';
export { type BalanceConfig, type ExpertsConfig, type ExpertsWeights, experts, expertsSpec } from './experts.js';
export { type FeedWeights, feed, feedSpec } from './feed.js';
export { type Layout, type LayoutOptions, type LayoutValues, makeLayout } from './layout.js';
export { type MlpWeights, mlp, mlpSpec } from './mlp.js';
export { layerNormSpec, type NormWeights, norm } from './norm.js';
export {
  countParameters,
  type InitOptions,
  initialize,
  matrix,
  namedParams,
  type Param,
  type Shard,
  type Specs,
  trainedOf,
  vector,
  type Weights,
} from './param.js';
export {
  makeRelativeLayout,
  type Relative,
  type RelativeLayout,
  type RelativePass,
  type RelativeSettings,
  type Sight,
} from './relative_layout.js';
export { attentionFactor, type Rope, ropeTable, ropeTableFor } from './rope_table.js';
export type { Routing, Run } from './run.js';
export { sinusoid, sinusoidFor } from './sinusoid.js';
