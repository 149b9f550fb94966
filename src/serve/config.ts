import { z } from 'zod';
import type { ServeInput } from '../config/inputs.gen.js';
import { checkSettings } from '../config/settings.js';

export type { ServeInput } from '../config/inputs.gen.js';

const count = z.int().min(1);
const path = z.string().min(1);

/** Settings of the server. */
export const serveSchema = z.strictObject({
  model: path.describe('the model that answers: a Hugging Face folder, a checkpoint or a run folder'),
  name: path.optional().describe("what clients call it; by default its folder's name"),
  tokenizer: path.optional().describe("a tokenizer; by default the model's own"),
  template: path.optional().describe("a chat template (Jinja file or text); by default the model's own"),
  device: z.enum(['auto', 'cpu', 'cuda', 'emulator']).default('auto').describe('where to compute'),
  dtype: z.enum(['f32', 'bf16']).default('f32').describe('arithmetic'),
  threads: count.max(256).optional().describe('threads of the CPU backend'),
  host: path.default('127.0.0.1').describe('address to listen on; 0.0.0.0 for all'),
  port: z.int().min(0).max(65_535).default(8000).describe('port to listen on; 0 for any that is free'),
  apiKey: path.optional().describe('what clients must bring as "Authorization: Bearer ..."; by default nothing'),
  context: count
    .min(2)
    .optional()
    .describe('longest request in tokens, its answer included; by default what the model reads, at most 16384'),
  parallel: count.default(16).describe('completions that are generated at once'),
  queue: z.int().min(0).default(256).describe('requests that may wait; one more is told to come later'),
  cacheTokens: count
    .optional()
    .describe(
      'tokens of the key cache; by default for all at once at their longest, or as many as there is memory for',
    ),
  maxTokens: count.default(4096).describe('longest answer where the request names none'),
  reasoning: z
    .boolean()
    .default(false)
    .describe('answers begin with thoughts in <think>..</think>: tell them apart, as reasoning_content'),
});

/** Settings of the server, with every default filled in. */
export type ServeConfig = Readonly<z.output<typeof serveSchema>>;

/** What was asked for, with every default filled in. @throws TrainMoeError `bad-config` with every fault */
export const resolveServe = (input: ServeInput): ServeConfig => checkSettings(serveSchema, input, 'the server');
