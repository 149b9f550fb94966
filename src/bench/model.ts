import { createModel, trainedParameters } from '../models/codec.js';
import { deepseekMoe } from '../models/deepseek_moe.js';
import { deepseekV3 } from '../models/deepseek_v3.js';
import type { Family, Model } from '../models/family.js';
import { AdamW } from '../optim/adamw.js';
import { type Device, permanent } from '../tensor/index.js';
import { type ModelName, type ModelShape, models } from './shapes.js';

/** What other programs that run these models agree on beside their sizes. */
const AGREED = { norm_topk_prob: true, routed_scaling_factor: 1, rms_norm_eps: 1e-6, rope_theta: 10_000 };

/** Sizes at which a whole model runs anywhere within a moment. */
const SMOKE: ModelShape = {
  vocab_size: 512,
  hidden_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 128,
  moe_intermediate_size: 64,
  n_routed_experts: 8,
  num_experts_per_tok: 2,
};

/** A benchmark model's sizes by name, or small ones of the same kind. */
export function modelShape(name: ModelName, smoke: boolean): ModelShape {
  return { ...models[name], ...(smoke && SMOKE) };
}

/** The family and configuration of these sizes: DeepSeek-V3, or DeepSeekMoE where attention is plain. */
export function configOf(shape: ModelShape, context: number): { readonly family: Family; readonly config: unknown } {
  const family = (shape.kv_lora_rank ? deepseekV3 : deepseekMoe) as unknown as Family;
  return { family, config: family.fromHub({ ...shape, ...AGREED, max_position_embeddings: context }) };
}

export interface BuildOptions {
  readonly dtype: 'f32' | 'bf16';
  readonly device: Device;
  /** Gradients will be taken. */
  readonly train: boolean;
  /** The longest sequence. */
  readonly context: number;
}

/** A model of these sizes with random weights. It lives until disposeModel(). */
export function buildModel(shape: ModelShape, options: BuildOptions): Model {
  const { family, config } = configOf(shape, options.context);
  return permanent(() => createModel(family, config, { ...options, seed: 0 }));
}

/** AdamW over all that is trained, with f32 moments. */
export function makeOptimizer(device: Device, model: Model, decay: number): AdamW {
  return new AdamW(trainedParameters(model), { beta1: 0.9, beta2: 0.95, eps: 1e-8, decay, moments: 'f32' }, device);
}

/** The variants of a job that runs whole models: one per type that weights are computed in. */
export function modelVariants(wanted: 'f32' | 'bf16' | undefined): readonly { dtype: 'f32' | 'bf16'; rival: string }[] {
  const dtypes = wanted ? [wanted] : (['f32', 'bf16'] as const);
  return dtypes.map((dtype) => ({ dtype, rival: `train-moe-${dtype}` }));
}
