import { z } from 'zod';
import { checkSettings } from '../../config/settings.js';

export type { DpoInput, RewardModelInput } from '../../config/inputs.gen.js';

const count = z.int().min(1);
const maybe = z.int().min(0);
const path = z.string().min(1);

/** Settings that reward models and DPO share. A step is one update on `batch` pairs. */
const shared = {
  model: path.describe('the model to start from: a Hugging Face folder, a checkpoint or a run folder'),
  tokenizer: path.optional().describe("a tokenizer; by default the model's own"),
  chatTemplate: path.optional().describe('a Jinja file to render conversations with; by default that of the tokenizer'),
  data: z.array(path).min(1).describe('files of preferences: .jsonl, .json or .parquet'),
  promptAs: z
    .enum(['text', 'user'])
    .default('text')
    .describe(
      'prompts that are plain strings: "text" is continued as it stands, "user" is a turn of the chat template',
    ),
  device: z.enum(['auto', 'cpu', 'cuda', 'emulator']).default('auto').describe('where to compute'),
  dtype: z.enum(['f32', 'bf16']).default('f32').describe('arithmetic; masters are f32'),
  threads: count.max(256).optional().describe('threads of the CPU backend'),
  seed: maybe.default(1).describe('seed of the order'),
  epochs: z.number().positive().default(1).describe('times that the data are gone through'),
  maxPairs: count.optional().describe('pairs to train on, at most; by default all'),
  heldOut: z.number().min(0).max(0.9).default(0.1).describe('share of the prompts that is kept for testing'),
  schedule: z.enum(['constant', 'linear', 'cosine']).default('cosine').describe('course of the learning rate'),
  floor: z.number().min(0).max(1).default(0.1).describe('what "linear" and "cosine" end at, as a factor'),
  warmup: maybe.default(0).describe('updates over which the learning rate rises from 0'),
  decay: z.number().min(0).default(0).describe('weight decay of matrices'),
  maxNorm: z.number().positive().default(1).describe('largest global norm of the gradient'),
  rowsAtOnce: count.default(16_384).describe('tokens of one forward and backward pass; changes memory, not the result'),
  recompute: z.boolean().default(false).describe('recompute blocks in the backward pass: less memory, more time'),
  evaluateEvery: maybe.default(0).describe('steps between evaluations; 0: at the start and the end'),
  evaluatePairs: maybe.default(2000).describe('held-out pairs of an evaluation, at most; 0: none'),
  saveEvery: maybe.default(200).describe('steps between checkpoints; 0: at the end only'),
  keep: count.default(2).describe('checkpoints kept'),
  tensorboard: z.boolean().default(true).describe('write TensorBoard event files beside the JSONL metrics'),
};

/** The defaults are those of DeepSeek-R1's reward models: arXiv:2501.12948, section 3.1. */
export const rewardModelSchema = z.strictObject({
  ...shared,
  out: path.default('runs/reward-model').describe('run folder; a run that it holds goes on'),
  kind: z
    .enum(['pairwise', 'safety'])
    .default('pairwise')
    .describe('"pairwise" learns which of two answers is better, "safety" the probability that one answer is fine'),
  batch: count.default(256).describe('pairs of an update'),
  lr: z.number().positive().default(6e-6).describe('learning rate'),
  maxLength: count.default(8192).describe('longest text, in tokens; pairs with a longer one are left out'),
  center: z.number().min(0).default(0).describe('weight of the squared sum of both scores, which keeps them around 0'),
});

export const dpoSchema = z.strictObject({
  ...shared,
  out: path.default('runs/dpo').describe('run folder; a run that it holds goes on'),
  batch: count.default(64).describe('pairs of an update'),
  lr: z.number().positive().default(1e-6).describe('learning rate'),
  maxLength: count.default(4096).describe('longest text, in tokens; pairs with a longer one are left out'),
  beta: z.number().positive().default(0.1).describe('how closely the policy is held to the reference'),
  loss: z.enum(['sigmoid', 'ipo', 'hinge']).default('sigmoid').describe('what a pair costs'),
  smoothing: z.number().min(0).max(0.5).default(0).describe('share of labels thought to be wrong; of "sigmoid"'),
  average: z.boolean().default(false).describe('mean of log-probabilities over tokens, in place of their sum'),
  reference: z
    .enum(['model', 'none'])
    .default('model')
    .describe('"model": the model as it was at the start; "none": the log-probabilities alone are compared'),
});

/** Checked configurations with every default filled in. */
export type RewardModelConfig = Readonly<z.output<typeof rewardModelSchema>>;
export type DpoConfig = Readonly<z.output<typeof dpoSchema>>;
export type PreferenceConfig = Readonly<Omit<RewardModelConfig, 'kind' | 'center'>>;

/** Fills in the defaults. @throws TrainMoeError `bad-config` with every fault and its setting, unknown settings included */
export function resolvePreference<S extends z.ZodType>(schema: S, input: unknown): z.output<S> {
  return checkSettings(schema, input, 'the run');
}
