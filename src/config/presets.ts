import { PREDICTED_SHARE } from '../data/permute.js';
import type { RunConfigInput } from './inputs.gen.js';

/** Sequences of 4096 tokens; DeepSeek's optimizer settings are the schema's defaults. */
const LENGTH = 4096;

const v1Schedule = { kind: 'v2', warmup: 2000, drops: [0.8, 0.9] } as const;

const megatronGpt2: RunConfigInput = {
  tokenizer: { vocabSize: 50_257 },
  train: {
    steps: 300_000,
    rows: 512,
    length: 1024,
    optimizer: { lr: 1.5e-4, beta2: 0.999, decay: 0.01 },
    schedule: { kind: 'cosine', warmup: 3000, floor: 1 / 15 },
  },
};

/** Encoders, trained on hidden words. All papers end at a learning rate of 0. */
function encoder(o: {
  readonly vocabSize: number;
  readonly steps: number;
  readonly rows: number;
  readonly lr: number;
  readonly warmup: number;
  readonly beta2?: number;
  readonly decay?: number;
  readonly clip?: number;
}): RunConfigInput {
  return {
    tokenizer: { vocabSize: o.vocabSize },
    train: {
      steps: o.steps,
      rows: o.rows,
      length: 512,
      optimizer: { lr: o.lr, beta2: o.beta2 ?? 0.999, eps: 1e-6, decay: o.decay ?? 0.01 },
      schedule: { kind: 'linear', warmup: o.warmup, floor: 0 },
      ...(o.clip && { clip: o.clip }),
    },
  };
}

/** On how pairs of texts belong together as well; `--data.pairs none` leaves hidden words alone. */
const inPairs = (data: NonNullable<RunConfigInput['data']>, run: RunConfigInput): RunConfigInput => ({ ...run, data });

/** ALBERT and Megatron-LM ask for the order of the texts, and hide up to three whole words together. */
const inOrder = { pairs: 'order', wholeWords: 3 } as const;

// BERT, arXiv:1810.04805, appendix A.2; it saw rows of 128 for nine tenths of the steps.
const bert = inPairs(
  { pairs: 'next' },
  encoder({ vocabSize: 30_522, steps: 1_000_000, rows: 256, lr: 1e-4, warmup: 10_000 }),
);
// ALBERT, arXiv:1909.11942, section 4.1: LAMB at 0.00176, which is not here; the learning rate of AdamW is ours.
const albert = inPairs(inOrder, encoder({ vocabSize: 30_000, steps: 125_000, rows: 4096, lr: 4e-4, warmup: 3125 }));

/** XLNet predicts a sixth of its words, and remembers what comes before half of its rows and what comes after the others. */
const inAnyOrder = (run: RunConfigInput): RunConfigInput => ({
  ...run,
  data: { masked: PREDICTED_SHARE, reversed: true },
});

// XLNet, arXiv:1906.08237, section 3.1 and appendix A.4.1, the large one's; memory and reuse are those of the code.
const xlnet = {
  ...inAnyOrder(encoder({ vocabSize: 32_000, steps: 500_000, rows: 8192, lr: 4e-4, warmup: 40_000 })),
  model: { memoryLength: 384, reuseLength: 256 },
};

/** How others trained theirs: as published, for reference and for machines that could. */
const published = {
  // DeepSeek LLM, arXiv:2401.02954, table 2 and section 2.3: 2T tokens.
  'deepseek-llm-7b': paper({ tokens: 2e12, rows: 2304, lr: 4.2e-4, vocabSize: 100_015, schedule: v1Schedule }),
  'deepseek-llm-67b': paper({ tokens: 2e12, rows: 4608, lr: 3.2e-4, vocabSize: 100_015, schedule: v1Schedule }),
  // DeepSeekMoE, arXiv:2401.06066, sections 4.1.3 and 5.1.2.
  'deepseek-moe-2b': paper({
    tokens: 1e11,
    rows: 2048,
    length: 2048,
    lr: 1.08e-3,
    vocabSize: 8192,
    schedule: v1Schedule,
  }),
  'deepseek-moe-16b': paper({ tokens: 2e12, rows: 4608, lr: 4.2e-4, vocabSize: 100_015, schedule: v1Schedule }),
  // DeepSeek-V2, arXiv:2405.04434, section 3.1.2 and appendix B; the batch grows over the first 225B tokens.
  'deepseek-v2-lite': paper({ tokens: 5.7e12, rows: 4608, lr: 4.2e-4, vocabSize: 100_015, schedule: v1Schedule }),
  'deepseek-v2': paper({
    tokens: 8.1e12,
    rows: 9216,
    ramp: { from: 2304, tokens: 225e9 },
    lr: 2.4e-4,
    vocabSize: 100_015,
    schedule: { kind: 'v2', warmup: 2000, drops: [0.6, 0.9] },
  }),
  // DeepSeek-V3, arXiv:2412.19437, sections 4.1 and 4.2; the batch grows over the first 469B tokens.
  'deepseek-v3': {
    ...paper({
      tokens: 14.8e12,
      rows: 15_360,
      ramp: { from: 3072, tokens: 469e9 },
      lr: 2.2e-4,
      vocabSize: 128_815,
      schedule: { kind: 'v3', warmup: 2000 },
    }),
    data: { fim: 0.1 },
  },
  // GPT-2's own settings are not published; these are Megatron-LM's for its GPT-2, arXiv:1909.08053, section 4.2.
  gpt2: megatronGpt2,
  'gpt2-medium': megatronGpt2,
  'gpt2-large': megatronGpt2,
  'gpt2-xl': megatronGpt2,
  'bert-tiny': bert,
  'bert-mini': bert,
  'bert-small': bert,
  'bert-medium': bert,
  'bert-base': bert,
  'bert-large': bert,
  'albert-base': albert,
  'albert-large': albert,
  'albert-xlarge': albert,
  'albert-xxlarge': albert,
  // RoBERTa, arXiv:1907.11692, table 9, but for the clipping at 1: it had none.
  'roberta-base': encoder({ vocabSize: 50_265, steps: 500_000, rows: 8192, lr: 6e-4, warmup: 24_000, beta2: 0.98 }),
  'roberta-large': encoder({ vocabSize: 50_265, steps: 500_000, rows: 8192, lr: 4e-4, warmup: 30_000, beta2: 0.98 }),
  // DistilBERT, arXiv:1910.01108, learning rate, batch, decay and clipping of the code that came with it; give its teacher.
  'distilbert-base': encoder({
    vocabSize: 30_522,
    steps: 30_000,
    rows: 4000,
    lr: 5e-4,
    warmup: 1500,
    beta2: 0.98,
    decay: 0,
    clip: 5,
  }),
  // Megatron-LM's BERT, arXiv:1909.08053, section 4.2.
  'megatron-bert-345m': inPairs(
    inOrder,
    encoder({ vocabSize: 29_056, steps: 2_000_000, rows: 1024, lr: 1e-4, warmup: 10_000 }),
  ),
  'xlnet-base': xlnet,
  'xlnet-large': xlnet,
  // CTRL, arXiv:1909.05858, section 3.2: Adagrad at 0.05, which is not here; the learning rate of AdamW is ours.
  ctrl: {
    tokenizer: { vocabSize: 246_534 },
    train: {
      steps: 800_000,
      rows: 1024,
      length: 512,
      optimizer: { lr: 2e-4 },
      schedule: { warmup: 25_000 },
      clip: 0.25,
    },
  },
} satisfies Record<string, RunConfigInput>;

const nano: RunConfigInput = {
  tokenizer: { vocabSize: 4096 },
  train: { steps: 1000, rows: 8, length: 256, optimizer: { lr: 2e-3 }, schedule: { warmup: 50 } },
};

/**
 * The settings of a run by the size of its model. A preset is the lowest layer: a config file and flags override it key
 * by key. The model itself is the preset of the same name in src/models.
 */
export const presets: Readonly<Record<string, RunConfigInput>> = {
  micro: {
    tokenizer: { vocabSize: 2048 },
    train: { steps: 400, rows: 8, length: 256, optimizer: { lr: 3e-3 } },
    evaluate: { every: 100, windows: 32 },
  },
  nano,
  'dense-nano': nano,
  'gpt2-nano': nano,
  'roberta-nano': {
    ...nano,
    train: { ...nano.train, steps: 3000, optimizer: { lr: 1e-3 }, schedule: { warmup: 200 } },
  },
  'xlnet-nano': {
    ...inAnyOrder(nano),
    train: { ...nano.train, steps: 3000, optimizer: { lr: 1e-3 }, schedule: { warmup: 200 } },
  },
  mini: {
    tokenizer: { vocabSize: 8192 },
    train: { steps: 2000, rows: 4, length: 512, optimizer: { lr: 1e-3 }, schedule: { warmup: 100 } },
  },
  ...published,
};

interface Paper {
  readonly tokens: number;
  readonly rows: number;
  readonly length?: number;
  /** The batch grows from `from` rows to `rows` over the first `tokens`; its shape is not published, so linearly. */
  readonly ramp?: { readonly from: number; readonly tokens: number };
  readonly lr: number;
  readonly vocabSize: number;
  readonly schedule: NonNullable<NonNullable<RunConfigInput['train']>['schedule']>;
}

function paper({ tokens, rows, length = LENGTH, ramp, lr, vocabSize, schedule }: Paper): RunConfigInput {
  const rampSteps = ramp ? Math.round(ramp.tokens / (((ramp.from + rows) / 2) * length)) : 0;
  const steps = rampSteps + Math.round((tokens - (ramp?.tokens ?? 0)) / (rows * length));
  return {
    tokenizer: { vocabSize },
    train: {
      steps,
      rows,
      length,
      optimizer: { lr },
      schedule,
      ...(ramp && { rowsRamp: { from: ramp.from, steps: rampSteps } }),
    },
  };
}
