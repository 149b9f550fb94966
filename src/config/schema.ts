import { z } from 'zod';
import { LONGEST_RUN } from '../data/draws.js';
import { MASKED_SHARE } from '../data/mask.js';
import { modelSchema } from './model.js';
import { rankFields } from './ranks.js';

/** A fraction in [0, 1]. */
const fraction = z.number().min(0).max(1);
/** How much of a running average stays at each step; 1 would never take anything in. */
const decay = z.number().min(0).lt(1);
/** A count of at least one. */
const count = z.int().min(1);
/** A count that may be zero; zero switches the thing off. */
const maybeCount = z.int().min(0);

const data = z.strictObject({
  sources: z
    .array(z.string().min(1))
    .default([])
    .describe('files, folders and globs to read; none takes real text that is already on the machine'),
  field: z.string().min(1).default('text').describe('the field that holds the text in .jsonl, .csv and .parquet'),
  validation: fraction.default(0.01).describe('fraction of the documents held out for validation, by content hash'),
  test: fraction.default(0).describe('fraction of the documents held out for testing, by content hash'),
  fim: fraction
    .default(0)
    .describe('fraction of the documents rewritten as prefix, suffix, middle; DeepSeek-V3 uses 0.1'),
  masked: fraction
    .default(MASKED_SHARE)
    .describe('fraction of the tokens that an encoder finds hidden and predicts, or that XLNet predicts'),
  wholeWords: z
    .int()
    .min(0)
    .max(LONGEST_RUN)
    .default(0)
    .describe('whole words of an encoder that are hidden together, at most; 0 hides single tokens'),
  pairs: z
    .enum(['none', 'next', 'order'])
    .default('none')
    .describe(
      'what an encoder judges of pairs of texts: "next", whether the second follows; "order", whether they are swapped',
    ),
  shortPairs: fraction.default(0.1).describe('fraction of the pairs that are cut to a random length'),
  reversed: z
    .boolean()
    .default(false)
    .describe('half of the rows run backwards, so that XLNet remembers what comes after them, too'),
  packing: z
    .enum(['stream', 'documents'])
    .default('stream')
    .describe('"stream" lets attention cross documents, as DeepSeek-V3 does; "documents" stops it at their borders'),
  cache: z.string().min(1).optional().describe('folder of the tokenised shards; by default it lies beside the run'),
});

const tokenizer = z.strictObject({
  path: z.string().min(1).optional().describe('a tokenizer to use as it is; without one a vocabulary is learnt'),
  vocabSize: z.int().min(257).default(4096).describe('tokens of a learnt vocabulary, special ones included'),
  trainBytes: count.default(64 * 2 ** 20).describe('bytes of text the vocabulary is learnt from, at most'),
});

const optimizer = z.strictObject({
  lr: z.number().positive().default(1e-3).describe('peak learning rate'),
  beta1: decay.default(0.9).describe('decay of the first moment'),
  beta2: decay.default(0.95).describe('decay of the second moment'),
  eps: z.number().positive().default(1e-8).describe('added to the root of the second moment'),
  decay: z.number().min(0).default(0.1).describe('decoupled weight decay of matrices; norms and biases have none'),
  moments: z
    .enum(['f32', 'bf16', 'u8'])
    .default('f32')
    .describe('how the two moments are stored; "u8": 8 bits and a scale to each 256, arXiv:2110.02861'),
  master: z
    .boolean()
    .default(true)
    .describe('keep f32 values of bf16 weights; without them stochastic rounding keeps them right on average'),
});

const schedule = z.strictObject({
  kind: z
    .enum(['constant', 'cosine', 'linear', 'v2', 'v3'])
    .default('cosine')
    .describe('shape after the warm-up; "v2" and "v3" are the steps and the four pieces of the DeepSeek papers'),
  warmup: maybeCount.default(20).describe('steps of linear warm-up from zero'),
  floor: fraction.default(0.1).describe('where "cosine" and "linear" end, as a fraction of the peak'),
  drops: z.array(fraction).default([0.6, 0.9]).describe('"v2": the rate drops after these fractions of the steps'),
  dropFactor: fraction.default(0.316).describe('"v2": by this factor each time'),
});

const rowsRamp = z.strictObject({
  from: count.describe('rows of the first step'),
  steps: count.describe('steps over which they grow to train.rows'),
});

const train = z.strictObject({
  steps: count.default(1000).describe('optimizer steps'),
  rows: count.default(8).describe('rows (packed windows) of one optimizer step'),
  length: z.int().min(2).default(256).describe('tokens of one row'),
  accumulate: count.default(1).describe('micro-batches that a step is cut into; changes memory, not the result'),
  seed: z.int().min(0).default(1).describe('seed of the initial weights, the data order and dropout'),
  dtype: z
    .enum(['auto', 'f32', 'bf16'])
    .default('auto')
    .describe('arithmetic of the step; "auto" is bf16 where the device multiplies it faster. Masters are f32'),
  optimizer: optimizer.prefault({}),
  schedule: schedule.prefault({}),
  rowsRamp: rowsRamp.optional().describe('start with fewer rows'),
  clip: z.number().positive().default(1).describe('largest global norm of the gradient'),
  ema: decay.optional().describe('decay of an exponential moving average of the weights, e.g. 0.999; kept beside them'),
  recompute: z.boolean().default(false).describe('recompute each block in the backward pass: less memory, more time'),
});

const distill = z.strictObject({
  teacher: z
    .string()
    .min(1)
    .optional()
    .describe(
      "an encoder that another learns from, with the teacher's vocabulary: a folder, a checkpoint or a run folder",
    ),
  temperature: z.number().positive().default(2).describe('softens what teacher and student say of every token'),
  soft: z.number().positive().default(5).describe("weight of the divergence from the teacher's probabilities"),
  words: z.number().positive().default(2).describe('weight of the loss on hidden words'),
  cosine: z.number().min(0).default(1).describe("weight of the angle to the teacher's last hidden states; 0: none"),
  begin: z
    .boolean()
    .default(true)
    .describe("a student of random weights begins with the teacher's embedding, head and some of its layers"),
});

const evaluate = z.strictObject({
  every: maybeCount.default(100).describe('steps between evaluations; 0 evaluates at the end only'),
  windows: count.default(64).describe('rows of the validation split in one evaluation, at most'),
});

const save = z.strictObject({
  every: maybeCount.default(200).describe('steps between checkpoints; 0 saves at the end only'),
  keep: count.default(2).describe('checkpoints kept; older ones are deleted'),
});

const log = z.strictObject({
  every: count.default(10).describe('steps between lines where the output is not a terminal'),
  tensorboard: z.boolean().default(true).describe('write TensorBoard event files beside the JSONL metrics'),
});

/** The whole configuration of a pre-training run. Unknown keys are errors at every level. */
export const runConfigSchema = z.strictObject({
  preset: z.string().min(1).default('nano').describe('named settings that everything else overrides'),
  model: modelSchema
    .prefault({})
    .describe(
      "a model to go on from, with its tokenizer: a Hugging Face folder, a checkpoint or a run folder; model.NAME overrides the preset's",
    ),
  data: data.prefault({}),
  tokenizer: tokenizer.prefault({}),
  train: train.prefault({}),
  distill: distill.prefault({}),
  evaluate: evaluate.prefault({}),
  save: save.prefault({}),
  log: log.prefault({}),
  out: z
    .string()
    .min(1)
    .optional()
    .describe('run folder, by default runs/<preset>, or runs/pretrain with a model; a run that it holds goes on'),
  device: z
    .enum(['auto', 'cpu', 'cuda', 'emulator'])
    .default('auto')
    .describe('"auto" takes the GPU where one works and says why where none does'),
  threads: z
    .int()
    .min(1)
    .max(256)
    .optional()
    .describe('threads of the CPU backend, of all ranks together; by default the cores given to us'),
  ...rankFields,
});

type Frozen<T> = T extends readonly (infer E)[]
  ? readonly Frozen<E>[]
  : T extends object
    ? { readonly [K in keyof T]: Frozen<T[K]> }
    : T;

/** A checked configuration with every default filled in. */
export type RunConfig = Frozen<z.output<typeof runConfigSchema>> & { readonly out: string };
