import { z } from 'zod';
import type { RunConfigInput } from '../config/index.js';
import type { R1Input } from '../config/inputs.gen.js';
import { checkSettings } from '../config/settings.js';
import { TrainMoeError } from '../errors.js';
import { algorithms, type GrpoInput } from '../rl/config.js';
import type { RejectInput, SynthesizeInput } from '../rl/curate/index.js';
import type { RewardModelInput } from '../rl/preference/config.js';
import type { SftInput } from '../train/sft/config.js';
import type { Mixture } from './corpus.js';
import type { MeasureOptions } from './measure.js';
import { withSettings } from './override.js';

export type { R1Input } from '../config/inputs.gen.js';

/** Where a recipe runs and what it makes; nothing here changes what a stage computes but `seed`, the data and the task. */
export const r1Schema = z.strictObject({
  preset: z.string().min(1).default('micro').describe('settings of all stages, by size'),
  out: z.string().min(1).optional().describe('folder of the stages and the report; by default runs/r1-<preset>'),
  seed: z.int().min(0).max(0xffff).default(1).describe('seed of every stage'),
  data: z
    .array(z.string().min(1))
    .default([])
    .describe('text of the base: files, folders and globs; none takes real text that is already on the machine'),
  base: z
    .string()
    .min(1)
    .optional()
    .describe('a base model to start from, a Hugging Face folder, instead of training one'),
  preferences: z
    .array(z.string().min(1))
    .default([])
    .describe('what people prefer, for RL 2: .jsonl or .parquet; by default generated with the transcripts, else none'),
  student: z
    .string()
    .min(1)
    .optional()
    .describe('a dense model to distil into; by default the preset trains one or none'),
  task: z
    .string()
    .min(1)
    .optional()
    .describe("arith, countdown, gsm8k, a .jsonl or a .js module; by default the preset's"),
  taskOptions: z.record(z.string(), z.unknown()).default({}).describe("the task's own options, as JSON"),
  settings: z
    .record(z.string(), z.unknown())
    .default({})
    .describe('settings of stages in the place of the preset\'s, as JSON: {"zero":{"steps":200}}'),
  device: z.enum(['auto', 'cpu', 'cuda', 'emulator']).default('auto').describe('where to compute'),
  threads: z.int().min(1).max(256).optional().describe('threads of the CPU backend'),
});

/** What was asked for, with every default filled in. */
export type R1Options = Omit<Readonly<z.output<typeof r1Schema>>, 'settings'> & { readonly out: string };

/** What every stage does. A preset is one of these. */
export interface R1Settings {
  /** The corpus of a base that is trained here; without it the base reads the data given. */
  readonly mixture?: Mixture;
  readonly base: Omit<RunConfigInput, 'out' | 'device' | 'threads'>;
  readonly task: Pick<GrpoInput, 'task' | 'taskOptions' | 'template'>;
  readonly evaluation: Pick<MeasureOptions, 'dtype' | 'questions' | 'samples' | 'temperature' | 'maxTokens' | 'shown'>;
  /** R1-Zero: reinforcement learning of the base with the rewards of accuracy and format. */
  readonly zero: Partial<GrpoInput>;
  /** A chat template to fine-tune with; without it the tokenizer's own. */
  readonly chat?: string;
  /** How questions are put to models that were fine-tuned. */
  readonly tunedTemplate: NonNullable<GrpoInput['template']>;
  // Rewards that are named below come behind the task's own one for right or wrong.
  /** Right answers of R1-Zero, and the base's first lessons made of them. */
  readonly coldSamples: Partial<RejectInput>;
  readonly cold: Partial<SftInput>;
  readonly rl1: Partial<GrpoInput>;
  /** Right answers of the model of RL 1, other texts, and the base's second lessons, of both. */
  readonly samples: Partial<RejectInput>;
  readonly synthetic: Partial<SynthesizeInput> & { readonly openings: number };
  readonly sft: Partial<SftInput>;
  readonly rewardModel: Partial<RewardModelInput>;
  /** Without preferences, the reward model and its weight fall away. */
  readonly rl2: Partial<GrpoInput> & { readonly preferenceWeight: number };
  /** A dense model to teach, trained on the same corpus, and how; without it nothing is distilled. */
  readonly student?: Omit<RunConfigInput, 'out' | 'device' | 'threads'>;
  readonly distillSamples: Partial<RejectInput>;
  readonly distill: Partial<SftInput>;
}

/** Question and answer follow each other as they are. */
const PLAIN_CHAT =
  "{% for message in messages %}{% if message.role == 'assistant' %}{% generation %}{{ message.content + eos_token }}" +
  '{% endgeneration %}{% else %}{{ message.content }}{% endif %}{% endfor %}';

/**
 * Reinforcement learning at micro size. Work is longer than a guess, so tokens are averaged over the whole batch: by
 * completion, the short guesses would weigh more. With 3e-4 in place of 1e-4 a model of this size forgets how to add.
 */
const microRl = {
  prompts: 16,
  group: 8,
  maxTokens: 64,
  lr: 1e-4,
  aggregation: 'token',
  kl: 0.01,
  saveEvery: 20,
} as const satisfies Partial<GrpoInput>;

const microSft = { epochs: 2, rows: 8, length: 256, lr: 1e-3, validation: 0.02 } as const satisfies Partial<SftInput>;

const microTraining = {
  data: { packing: 'documents' },
  evaluate: { every: 200 },
  save: { every: 200 },
} as const satisfies R1Settings['base'];

/** Minutes on two cores; the model is half as wide and half as deep as the micro model. */
const micro: R1Settings = {
  mixture: {
    textBytes: 400_000,
    transcripts: 110_000,
    habits: { worked: 0.35, tagged: 0.45, mixed: 0.5, spoken: 0.3, spread: 6 },
    vocabSize: 512,
  },
  base: {
    ...microTraining,
    preset: 'micro',
    model: { hidden: 96, layers: 3, experts: 8, active: 2, heads: 4, kvRank: 32, inner: 256, expertInner: 96 },
    train: { steps: 1400, rows: 8, length: 256, optimizer: { lr: 4e-3 } },
  },
  task: { task: 'arith', taskOptions: { kind: 'chain', digits: 1, terms: 4, factors: [1] }, template: 'none' },
  evaluation: { dtype: 'f32', questions: 128, samples: 4, temperature: 1, maxTokens: 64, shown: 6 },
  chat: PLAIN_CHAT,
  tunedTemplate: 'none',
  zero: { ...microRl, steps: 110 },
  coldSamples: { questions: 256, samples: 4, most: 4, maxTokens: 64, reward: ['format'] },
  cold: microSft,
  rl1: { ...microRl, steps: 20, reward: ['format', 'language'] },
  samples: { questions: 768, samples: 4, most: 4, maxTokens: 64, reward: ['format'], language: 'en' },
  synthetic: { openings: 64, maxTokens: 32, forbid: ['\\d', '[<>]'], minLength: 4 },
  sft: microSft,
  rewardModel: { batch: 32, lr: 1e-3, epochs: 1, maxLength: 128 },
  rl2: { ...microRl, steps: 20, reward: ['format', 'language'], preferenceWeight: 0.5 },
  student: {
    ...microTraining,
    preset: 'dense-nano',
    model: { hidden: 96, layers: 3, heads: 4, keyHeads: 4, headSize: 24, inner: 256 },
    train: { steps: 900, rows: 8, length: 256, optimizer: { lr: 4e-3 } },
  },
  distillSamples: { questions: 512, samples: 4, most: 4, maxTokens: 64, reward: ['format'], language: 'en' },
  distill: { ...microSft, epochs: 4 },
};

/** R1-Zero as published, 650 rollouts, with shorter completions. */
const r1Rl = { ...algorithms['r1-zero'], maxTokens: 4096, saveEvery: 25 } as const satisfies Partial<GrpoInput>;

const r1Sft = { rows: 128, length: 4096, lr: 5e-5, floor: 0.1, epochs: 2 } as const satisfies Partial<SftInput>;

/** DeepSeek-R1's settings on the base of DeepSeek-V2-Lite, with completions of 4096 tokens rather than 32,768. */
const v2Lite: R1Settings = {
  base: { preset: 'deepseek-v2-lite' },
  task: { task: 'gsm8k', taskOptions: {}, template: 'zero' },
  evaluation: { dtype: 'bf16', questions: 256, samples: 16, temperature: 0.6, maxTokens: 4096, shown: 6 },
  tunedTemplate: 'chat',
  zero: { ...r1Rl, steps: 650 },
  coldSamples: { questions: 4096, samples: 4, most: 1, maxTokens: 4096, language: 'en' },
  cold: r1Sft,
  rl1: { ...r1Rl, steps: 650, reward: ['format', 'language'] },
  samples: { questions: 7473, samples: 16, most: 4, maxTokens: 4096, language: 'en' },
  synthetic: { openings: 4096, maxTokens: 1024 },
  sft: r1Sft,
  rewardModel: { batch: 256, lr: 6e-6, epochs: 1, maxLength: 8192 },
  rl2: {
    ...r1Rl,
    temperature: 0.7,
    steps: 106,
    reward: ['format', 'language'],
    preferenceWeight: 1,
  },
  distillSamples: { questions: 7473, samples: 16, most: 8, maxTokens: 4096, language: 'en' },
  distill: { ...r1Sft, rows: 64, lr: 1e-4, epochs: 3 },
};

/** The recipe at several sizes. */
export const r1Presets: Readonly<Record<string, R1Settings>> = { micro, 'v2-lite': v2Lite };

/** What was asked for, and what every stage does. */
export interface R1Config {
  readonly options: R1Options;
  readonly settings: R1Settings;
}

/** The settings of a recipe. @throws TrainMoeError `bad-config` with every fault, unknown options included. */
export function resolveR1(input: R1Input): R1Config {
  const { settings: replaced, ...given } = checkSettings(r1Schema, input, 'r1');
  const { preset, task, taskOptions } = given;
  const found = Object.hasOwn(r1Presets, preset) ? r1Presets[preset] : undefined;
  if (!found)
    throw new TrainMoeError(
      'bad-config',
      `The preset "${preset}" of r1 does not exist; there are ${Object.keys(r1Presets).join(', ')}.`,
    );
  const asked =
    task === undefined
      ? { ...found.task, taskOptions: { ...found.task.taskOptions, ...taskOptions } }
      : { ...found.task, task, taskOptions };
  const settings = withSettings({ ...found, task: asked }, replaced);
  if (found.mixture && given.base === undefined && settings.task.task !== 'arith')
    throw new TrainMoeError(
      'bad-config',
      `The preset ${preset} makes its base read transcripts of arith and of no other task, but the task is ${settings.task.task}; give a base of your own (--base), or another preset.`,
    );
  return { options: { ...given, out: given.out ?? `runs/r1-${preset}` }, settings };
}
