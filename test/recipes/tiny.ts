import type { R1Config } from '../../src/recipes/settings.js';

const reading = {
  data: { packing: 'documents' },
  // Enough to learn that texts end now and then: answers without an end are no lessons.
  train: { steps: 24, rows: 4, length: 64, optimizer: { lr: 1e-2 }, schedule: { warmup: 2 } },
  evaluate: { every: 0, windows: 2 },
  save: { every: 8 },
  log: { tensorboard: false },
} as const;

const reinforced = {
  prompts: 2,
  group: 4,
  maxTokens: 12,
  lr: 1e-4,
  saveEvery: 1,
  graderWorkers: 1,
  tensorboard: false,
} as const;

const sampled = {
  questions: 6,
  samples: 4,
  most: 3,
  maxTokens: 24,
  batch: 2,
  reward: [] as string[],
  graderWorkers: 1,
} as const;

const lessons = { epochs: 1, rows: 1, length: 64, validation: 0.1, saveEvery: 1, tensorboard: false } as const;

/** A model that knows nothing gives no right answer, so here everything is right that is not in a foreign script. */
const easy = { kind: 'chain', digits: 1, terms: 3, factors: [1], rewards: ['language', 'format'] };

/** A recipe of a few steps a stage, on a model that learns nothing in them. */
export function tinyRecipe(out: string, text: string, preferences: readonly string[] = [], seed = 1): R1Config {
  return {
    options: {
      preset: 'micro',
      out,
      seed,
      data: [text],
      preferences: [...preferences],
      taskOptions: {},
      device: 'cpu',
      threads: 1,
    },
    settings: {
      mixture: {
        textBytes: 1000,
        transcripts: 300,
        habits: { worked: 0.4, tagged: 0.5, mixed: 0.5, spoken: 0.3, spread: 6 },
        vocabSize: 300,
      },
      base: {
        preset: 'micro',
        model: {
          hidden: 32,
          layers: 2,
          heads: 2,
          kvRank: 8,
          nope: 8,
          ropeSize: 8,
          value: 8,
          inner: 32,
          experts: 4,
          active: 2,
          expertInner: 16,
        },
        ...reading,
      },
      task: { task: 'arith', taskOptions: easy, template: 'none' },
      evaluation: { dtype: 'f32', questions: 4, samples: 2, temperature: 1, maxTokens: 12, shown: 2 },
      chat:
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content + eos_token }}" +
        '{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}',
      tunedTemplate: 'none',
      zero: { ...reinforced, steps: 3 },
      coldSamples: sampled,
      cold: lessons,
      rl1: { ...reinforced, steps: 2, reward: ['format'] },
      samples: sampled,
      synthetic: { openings: 6, maxTokens: 8, graderWorkers: 1 },
      sft: lessons,
      rewardModel: { batch: 4, epochs: 1, lr: 1e-4, maxLength: 64, heldOut: 0.2, saveEvery: 1, tensorboard: false },
      rl2: { ...reinforced, steps: 2, reward: ['format'], preferenceWeight: 0.5 },
      student: {
        ...reading,
        preset: 'dense-nano',
        model: { hidden: 32, layers: 1, heads: 2, keyHeads: 2, headSize: 16, inner: 32 },
      },
      distillSamples: sampled,
      distill: lessons,
    },
  };
}

/**
 * The same without a corpus of ours, as for larger models: the base reads the text only and learns its own vocabulary, the
 * questions come from a file, and what is fine-tuned is asked through the chat template.
 * @param rewards the first says right or wrong
 */
export function plainRecipe(out: string, text: string, problems: string, rewards: readonly string[]): R1Config {
  const { options, settings } = tinyRecipe(out, text);
  const { mixture, student, chat, ...rest } = settings;
  return {
    options,
    settings: {
      ...rest,
      base: { ...settings.base, tokenizer: { vocabSize: 300 } },
      task: { task: problems, taskOptions: { rewards }, template: 'zero' },
      tunedTemplate: 'chat',
    },
  };
}
