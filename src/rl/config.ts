import { z } from 'zod';
import type { GrpoInput } from '../config/inputs.gen.js';
import { checkSettings } from '../config/settings.js';
import { TrainMoeError } from '../errors.js';

export type { GrpoInput } from '../config/inputs.gen.js';

const count = z.int().min(1);
const maybe = z.int().min(0);
const fraction = z.number().min(0).max(1);
const path = z.string().min(1);

/** Settings of a GRPO run. A step is one rollout of prompts * group completions, and the updates made on it. */
export const grpoSchema = z.strictObject({
  model: path.describe('the model to start from: a Hugging Face folder, a checkpoint or a run folder'),
  tokenizer: path.optional().describe("a tokenizer; by default the model's own"),
  task: path.default('arith').describe('arith, countdown, gsm8k, a .jsonl of problems or a .js module'),
  taskOptions: z.record(z.string(), z.unknown()).default({}).describe("the task's own options, as JSON"),
  template: z
    .enum(['none', 'zero', 'chat'])
    .default('none')
    .describe(
      'how a question is put: as it is, in the prompt of R1-Zero, which asks for <think> and <answer>, or as a turn of the chat template',
    ),
  reward: z
    .array(path)
    .default([])
    .describe(
      "rewards, first the one that says right or wrong; by default the task's. model:DIR is a reward model, perhaps with " +
        ',part=answer|all ,scale=running|sigmoid|none ,as=turns|text',
    ),
  rewardWeights: z.array(z.number()).default([]).describe('weights of the rewards; by default 1 each'),
  out: path.default('runs/grpo').describe('run folder; a run that it holds goes on'),
  device: z.enum(['auto', 'cpu', 'cuda', 'emulator']).default('auto').describe('where to compute'),
  dtype: z.enum(['f32', 'bf16']).default('f32').describe('arithmetic; masters are f32'),
  threads: count.max(256).optional().describe('threads of the CPU backend'),
  seed: maybe.default(1).describe('seed of questions, completions and mini-batches'),

  steps: count.default(100).describe('rollouts'),
  prompts: count
    .max(2 ** 20)
    .default(8)
    .describe('questions of a rollout'),
  group: z
    .int()
    .min(2)
    .max(2 ** 16)
    .default(8)
    .describe('completions of a question'),
  maxTokens: count.default(256).describe('longest completion'),
  maxPrompt: count.default(512).describe('longest prompt; longer questions are passed over'),
  temperature: z.number().positive().default(1).describe('of sampling, and of the log-probabilities that are trained'),
  parallel: count.default(128).describe('completions sampled at once, at most (never less than a group)'),
  exactRollouts: z
    .boolean()
    .default(true)
    .describe('f32 on CPUs: samples have the log-probabilities of training to the bit; latent attention keeps more'),
  rowsAtOnce: count.default(16_384).describe('tokens of one forward and backward pass; changes memory, not the result'),
  recompute: z.boolean().default(false).describe('recompute blocks in the backward pass: less memory, more time'),

  lr: z.number().positive().default(1e-6).describe('learning rate'),
  warmup: maybe.default(0).describe('updates over which the learning rate rises from 0'),
  decay: z.number().min(0).default(0).describe('weight decay of matrices'),
  maxNorm: z.number().positive().default(1).describe('largest global norm of the gradient'),
  updates: count.default(1).describe('mini-batches a rollout is cut into, one update each; R1-Zero: 16'),
  epochs: count.default(1).describe('times that a rollout is gone through'),

  advantage: z.enum(['std', 'mean']).default('std').describe('"mean" leaves the deviation out (Dr. GRPO)'),
  clipLow: z.number().positive().default(0.2).describe('the ratio stays above 1 - this; R1: 10, which is never'),
  clipHigh: z.number().positive().default(0.2).describe('the ratio stays below 1 + this; DAPO: 0.28'),
  dualClip: z.number().gt(1).optional().describe('bound on the loss of a bad token, in advantages; e.g. 3'),
  ratio: z.enum(['token', 'sequence']).default('token').describe('"sequence" is GSPO'),
  aggregation: z
    .enum(['sequence', 'token', 'constant'])
    .default('sequence')
    .describe(
      'mean over samples of token means (GRPO), over all tokens (DAPO), or sum / longest completion (Dr. GRPO)',
    ),
  kl: z.number().min(0).default(0.001).describe('weight of the KL penalty; 0 needs no reference model'),
  klEstimator: z.enum(['k1', 'k2', 'k3', 'k3-unbiased']).default('k3').describe('estimator of the KL penalty'),
  resetReference: maybe.default(0).describe('steps after which the reference becomes the current policy; 0: never'),
  rolloutCap: z.number().positive().optional().describe('cap of truncated importance sampling; e.g. 2'),
  offPolicyMask: z
    .number()
    .positive()
    .optional()
    .describe('leave bad samples out whose mean log-ratio to the policy that sampled exceeds this (DeepSeek-V3.2)'),
  dynamicSampling: maybe
    .default(0)
    .describe('further rollouts, at most, to replace groups of equal rewards (DAPO); 0: keep them'),
  overlong: z
    .enum(['keep', 'drop', 'punish'])
    .default('keep')
    .describe('completions cut at maxTokens: trained on, left out of the loss, or punished from overlongBuffer on'),
  overlongBuffer: count.default(64).describe('"punish": the penalty grows to 1 over the last so many tokens'),
  replayRouting: z
    .boolean()
    .default(false)
    .describe('updates use the experts that the old policy chose (mixture of experts)'),

  evaluateEvery: maybe.default(0).describe('steps between evaluations on test questions; 0: at the start and the end'),
  evaluateQuestions: maybe.default(32).describe('test questions of an evaluation; 0: none'),
  evaluateSamples: count.default(1).describe('completions of a test question: pass@1 to pass@this; 1 is greedy'),
  stopOnDrop: fraction
    .optional()
    .describe(
      'ends the run when test accuracy lies this far below its best, as when a reward model is being exploited',
    ),
  saveEvery: maybe.default(50).describe('steps between checkpoints; 0: at the end only'),
  keep: count.default(2).describe('checkpoints kept'),
  graderWorkers: count.default(2).describe('processes that grade'),
  graderTimeout: z.number().positive().default(20).describe('seconds that one sample may take to grade'),
  tensorboard: z.boolean().default(true).describe('write TensorBoard event files beside the JSONL metrics'),
  completions: fraction.default(1).describe('fraction of the groups whose completions are written, per step'),
});

/** A checked configuration with every default filled in. */
export type GrpoConfig = Readonly<z.output<typeof grpoSchema>>;

/** The published variants, as settings that everything else overrides. */
export const algorithms = {
  grpo: {},
  /** DeepSeek-R1-Zero as published: 32 questions, 16 completions each, 16 updates of a rollout of 512 questions. */
  'r1-zero': {
    prompts: 512,
    group: 16,
    updates: 16,
    lr: 3e-6,
    kl: 0.001,
    clipLow: 10,
    clipHigh: 10,
    maxTokens: 32_768,
    resetReference: 25,
  },
  /** arXiv:2503.14476 */
  dapo: {
    clipHigh: 0.28,
    kl: 0,
    aggregation: 'token',
    dynamicSampling: 4,
    overlong: 'punish',
    updates: 16,
    warmup: 20,
  },
  /** arXiv:2503.20783 */
  'dr-grpo': { advantage: 'mean', aggregation: 'constant', kl: 0 },
  /** arXiv:2507.18071 */
  gspo: { ratio: 'sequence', clipLow: 3e-4, clipHigh: 4e-4, kl: 0, updates: 4 },
} as const satisfies Record<string, Partial<GrpoInput>>;

/** Published settings to start from. */
export type Algorithm = keyof typeof algorithms;

/**
 * Fills in the defaults. @throws TrainMoeError `bad-config` with every fault and its setting, unknown settings included.
 */
export function resolveGrpo(input: GrpoInput, algorithm: Algorithm = 'grpo'): GrpoConfig {
  if (!Object.hasOwn(algorithms, algorithm))
    throw new TrainMoeError(
      'bad-config',
      `The algorithm "${algorithm}" is unknown; there are ${Object.keys(algorithms).join(', ')}.`,
    );
  const c = checkSettings(grpoSchema, { ...algorithms[algorithm], ...input }, 'GRPO');
  const faults = [
    c.updates > c.prompts * c.group && `updates = ${c.updates}: a rollout has ${c.prompts * c.group} completions only`,
    c.rewardWeights.length > 0 &&
      c.rewardWeights.length !== c.reward.length &&
      `rewardWeights = [${c.rewardWeights}]: give as many as rewards, which are [${c.reward}]`,
    c.overlong === 'punish' &&
      c.overlongBuffer > c.maxTokens &&
      `overlongBuffer = ${c.overlongBuffer}: it must not exceed maxTokens = ${c.maxTokens}`,
    c.stopOnDrop !== undefined &&
      (c.evaluateEvery === 0 || c.evaluateQuestions === 0) &&
      `stopOnDrop = ${c.stopOnDrop}: it looks at evaluations, so give evaluateEvery and evaluateQuestions`,
  ].filter((fault) => fault !== false);
  if (faults.length > 0)
    throw new TrainMoeError('bad-config', `The settings of GRPO contradict: ${faults.join('; ')}.`);
  return c;
}
