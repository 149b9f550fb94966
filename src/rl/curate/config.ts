import { z } from 'zod';
import type { RejectInput, SynthesizeInput } from '../../config/inputs.gen.js';
import { checkSettings } from '../../config/settings.js';
import { TrainMoeError } from '../../errors.js';
import { grpoSchema } from '../config.js';

export type { RejectInput, SynthesizeInput } from '../../config/inputs.gen.js';

const count = z.int().min(1);
const maybe = z.int().min(0);
const share = z.number().min(0).max(1);
const path = z.string().min(1);

/** What both ways to make data from a model have in common: how it is sampled, and which completions stay. */
const common = {
  model: path.describe('the model that answers: a Hugging Face folder, a checkpoint or a run folder'),
  tokenizer: path.optional().describe("a tokenizer; by default the model's own"),
  device: z.enum(['auto', 'cpu', 'cuda', 'emulator']).default('auto').describe('where to compute'),
  dtype: z.enum(['f32', 'bf16']).default('f32').describe('arithmetic'),
  threads: count.max(256).optional().describe('threads of the CPU backend'),
  seed: maybe.default(1).describe('seed of questions and completions'),

  maxTokens: count.default(256).describe('longest completion; one that is cut there is dropped'),
  maxPrompt: count.default(512).describe('longest prompt in tokens; longer ones are passed over'),
  temperature: z.number().positive().default(1).describe('of sampling'),
  parallel: count.default(128).describe('completions sampled at once, at most (never less than those of a question)'),
  batch: count
    .default(32)
    .describe('questions between two lines of the state file; an interrupted batch is done again'),

  reward: z.array(path).default([]).describe('rewards that judge a completion'),
  rewardWeights: z.array(z.number()).default([]).describe('weights of the rewards; by default 1 each'),
  minReward: z.number().optional().describe('drop completions whose weighted reward is less'),
  require: z.array(path).default([]).describe('drop completions in which one of these patterns is not found'),
  forbid: z.array(path).default([]).describe('drop completions in which one of these patterns is found'),
  minLength: maybe.default(1).describe('drop completions of fewer tokens'),
  maxLength: count.optional().describe('drop completions of more tokens'),
  language: path.optional().describe('drop completions that mix another language in; e.g. en'),
  languageShare: share.default(0.95).describe("least share of words in the language's script"),
  maxRepetition: share
    .default(0.5)
    .describe('largest share of 8-token sequences that occurred before in the completion'),
  dedup: z.boolean().default(true).describe('drop conversations that were kept before, but for case and white space'),
  most: count.default(4).describe('completions kept of a question, at most; those of the highest reward'),
  graderWorkers: count.default(2).describe('processes that grade'),
  graderTimeout: z.number().positive().default(20).describe('seconds that one sample may take to grade'),
} as const;

/** Settings of rejection sampling: completions of a task's questions, of which the right and well-formed ones stay. */
export const rejectSchema = z.strictObject({
  ...common,
  task: path.default('arith').describe('arith, countdown, gsm8k, a .jsonl of problems or a .js module'),
  taskOptions: z.record(z.string(), z.unknown()).default({}).describe("the task's own options, as JSON"),
  template: grpoSchema.shape.template,
  reward: common.reward.describe("rewards, first the one that says right or wrong; by default the task's"),
  questions: count.default(256).describe('questions of the training split'),
  samples: count.default(8).describe('completions of a question'),
  out: path.default('runs/reject').describe('folder of data.jsonl and its state'),
});

/** Settings of prompted generation: a template filled from rows, of whose completions those stay that pass the filters. */
export const synthesizeSchema = z.strictObject({
  ...common,
  template: path.default('answer').describe('question, answer, rewrite, summary, or a .json file'),
  seeds: path.describe('a .jsonl whose fields fill the template'),
  examples: path.optional().describe("a .jsonl of examples to show; by default the template's own, or other seeds"),
  shots: maybe.optional().describe("examples in a prompt; by default the template's number"),
  chat: z.boolean().default(false).describe("put the prompt as a user's turn, by the model's chat template"),
  samples: count.default(1).describe('completions of a prompt'),
  rounds: count.default(1).describe('times that the seeds are gone through, with other examples and completions'),
  stop: z.array(path).default([]).describe("texts that end a completion; by default the template's"),
  out: path.default('runs/synthesize').describe('folder of data.jsonl and its state'),
});

/** Checked settings of rejection sampling, every default filled in. */
export type RejectConfig = Readonly<z.output<typeof rejectSchema>>;
/** Checked settings of synthesis, every default filled in. */
export type SynthesizeConfig = Readonly<z.output<typeof synthesizeSchema>>;
export type CurateConfig = Pick<RejectConfig, keyof typeof common | 'samples' | 'out'>;

/** Fills in the defaults. @throws TrainMoeError `bad-config` with every fault and its setting, unknown ones included */
export const resolveReject = (input: RejectInput): RejectConfig =>
  consistent(checkSettings(rejectSchema, input, 'rejection sampling'));

/** As resolveReject(). */
export const resolveSynthesize = (input: SynthesizeInput): SynthesizeConfig =>
  consistent(checkSettings(synthesizeSchema, input, 'synthesis'));

function consistent<C extends RejectConfig | SynthesizeConfig>(c: C): C {
  if (c.rewardWeights.length > 0 && c.rewardWeights.length !== c.reward.length)
    throw new TrainMoeError(
      'bad-config',
      `rewardWeights = [${c.rewardWeights}]: give as many as rewards, which are [${c.reward}].`,
    );
  for (const pattern of [...c.require, ...c.forbid]) checkPattern(pattern);
  return c;
}

function checkPattern(pattern: string): void {
  try {
    new RegExp(pattern, 'u');
  } catch (cause) {
    throw new TrainMoeError('bad-config', `The pattern ${pattern} cannot be read: ${(cause as Error).message}.`, {
      cause,
    });
  }
}
