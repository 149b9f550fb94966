import { z } from 'zod';
import type { SftInput } from '../../config/inputs.gen.js';
import { rankFields } from '../../config/ranks.js';
import { checkSettings } from '../../config/settings.js';
import { TrainMoeError } from '../../errors.js';

export type { SftInput } from '../../config/inputs.gen.js';

const count = z.int().min(1);
const maybe = z.int().min(0);
const path = z.string().min(1);

/** Settings of supervised fine-tuning. The defaults are those of DeepSeek-R1, arXiv:2501.12948v2, B.4.2, for small machines. */
export const sftSchema = z.strictObject({
  model: path.describe('the model to start from: a Hugging Face folder, a checkpoint or a run folder'),
  data: z.array(path).min(1).describe('files of conversations: .jsonl .json (also .gz) .parquet'),
  validationData: z.array(path).default([]).describe('files to evaluate on; by default a share of the data'),
  format: z
    .enum(['messages', 'sharegpt', 'prompt-completion', 'self-instruct', 'alpaca'])
    .optional()
    .describe('format of the records; by default what the first of each file looks like'),
  promptAs: z
    .enum(['text', 'user'])
    .default('text')
    .describe('prompts given as strings are continued as they are, or asked as a turn of the chat template'),
  tokenizer: path.optional().describe("a tokenizer; by default the model's own"),
  template: path.optional().describe("a chat template (Jinja file or text); by default the tokenizer's own"),
  stopTokens: z.array(path).default([]).describe("tokens that end an answer; by default the tokenizer's end token"),
  turns: z.enum(['all', 'last']).default('all').describe('answers of a conversation that are trained'),
  out: path.default('runs/sft').describe('run folder; a run that it holds goes on'),
  device: z.enum(['auto', 'cpu', 'cuda', 'emulator']).default('auto').describe('where to compute'),
  dtype: z.enum(['f32', 'bf16']).default('f32').describe('arithmetic; masters are f32'),
  threads: count.max(256).optional().describe('threads of the CPU backend, of all ranks together'),
  ...rankFields,
  seed: maybe.default(1).describe('seed of the order of the examples'),

  epochs: count.default(2).describe('times that the data is gone through'),
  steps: count.optional().describe('steps after which to end, if the epochs are not over before'),
  rows: count.default(8).describe('packed rows of a step'),
  length: z.int().min(2).optional().describe("positions of a row; by default 2048, or the model's context if shorter"),
  overlong: z.enum(['drop', 'cut']).default('drop').describe('examples longer than a row'),
  accumulate: count.default(1).describe('parts in which a step is computed; changes memory, not the result'),
  recompute: z.boolean().default(false).describe('recompute blocks in the backward pass: less memory, more time'),
  balance: z.boolean().default(true).describe('balance losses and router biases of a mixture of experts'),
  mtp: z.boolean().default(true).describe("train the model's multi-token prediction, where it has one"),

  lr: z.number().positive().default(5e-5).describe('largest learning rate'),
  schedule: z.enum(['cosine', 'linear', 'constant']).default('cosine').describe('shape of the learning rate'),
  floor: z.number().min(0).max(1).default(0.1).describe('share of the learning rate that is left at the end'),
  warmup: maybe.default(0).describe('steps over which the learning rate rises from 0'),
  decay: z.number().min(0).default(0).describe('weight decay of matrices'),
  maxNorm: z.number().positive().default(1).describe('largest global norm of the gradient'),
  moments: z.enum(['f32', 'bf16']).default('f32').describe("type of the optimizer's moments"),

  lora: z
    .strictObject({
      rank: maybe.default(0).describe('rank of the adapters; 0 trains all weights'),
      alpha: z.number().positive().default(16).describe('the update is multiplied by alpha / rank'),
      dropout: z.number().min(0).lt(1).default(0).describe('share of the inputs that adapters do not see in training'),
      targets: z.enum(['attention', 'feed', 'all']).default('all').describe('matrices that get an adapter'),
    })
    .prefault({}),

  validation: z.number().min(0).max(0.5).default(0.02).describe('share of the conversations that is held out'),
  evaluateEvery: maybe.default(0).describe('steps between evaluations; 0: after each epoch'),
  saveEvery: maybe.default(200).describe('steps between checkpoints; 0: at the end only'),
  keep: count.default(2).describe('checkpoints kept'),
  tensorboard: z.boolean().default(true).describe('write TensorBoard event files beside the JSONL metrics'),
});

/** A checked configuration with every default filled in. */
export type SftConfig = Readonly<z.output<typeof sftSchema>>;

/** The settings once the model is known. */
export type SftSettings = SftConfig & { readonly length: number };

/** Rows as long as the settings say, or as the model allows. @throws TrainMoeError `bad-config` for longer ones */
export function fitLength(config: SftConfig, context: number): SftSettings {
  const length = config.length ?? Math.min(2048, context);
  if (length <= context) return { ...config, length };
  throw new TrainMoeError(
    'bad-config',
    `length = ${length}, but the context of ${config.model} is ${context} positions; set length to at most that.`,
  );
}

/**
 * Fills in the defaults. @throws TrainMoeError `bad-config` with every fault and its setting, unknown settings included.
 */
export function resolveSft(input: SftInput): SftConfig {
  const c = checkSettings(sftSchema, input, 'SFT');
  if (c.accumulate <= c.rows) return c;
  throw new TrainMoeError(
    'bad-config',
    `The settings of SFT contradict: accumulate = ${c.accumulate}, but a step has only ${c.rows} rows to cut.`,
  );
}
