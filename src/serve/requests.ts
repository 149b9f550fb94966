import { randomInt } from 'node:crypto';
import { z } from 'zod';
import { endIds, type GenerateOptions, promptIds } from '../generate/index.js';
import { longestAnswer } from '../generate/memory.js';
import { type ChatTemplate, type Message, renderPrompt, type Tokenizer } from '../tokenizer/index.js';
import { badParameter, schemaRefusal } from './refusal.js';

/*
 * Requests as OpenAI's API has them. A parameter that would change the answer and cannot be heeded is refused; those that change
 * nothing here are taken and left alone.
 */

/** What the server can do. */
export interface Abilities {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  /** Tokens of a request, its answer included. */
  readonly context: number;
  /** Completions at once. */
  readonly parallel: number;
  /** Prompts that are answered or wait, at most. */
  readonly most: number;
  /** Tokens that the cache holds over all completions. */
  readonly cacheTokens: number;
  /** Longest answer where none is asked for. */
  readonly maxTokens: number;
  readonly vocabulary: number;
}

/** A prompt, and the most tokens of an answer to it. */
export interface Prompt {
  readonly ids: readonly number[];
  readonly maxTokens: number;
}

/** A request that can be answered. */
export interface Asked {
  readonly kind: 'chat' | 'text';
  readonly prompts: readonly Prompt[];
  readonly options: Omit<GenerateOptions, 'maxTokens'> & { readonly count: number };
  readonly stop: readonly string[];
  readonly stream: boolean;
  /** The last piece of a stream is the count of tokens. */
  readonly usage: boolean;
  readonly logprobs: boolean;
}

const nothing = (name: string) => z.literal(0, { message: `${name} is not known here; leave it out` });

const sampling = {
  model: z.string().optional(),
  temperature: z.number().min(0).max(100).default(1),
  top_p: z.number().gt(0).max(1).default(1),
  top_k: z.int().min(-1).default(0),
  min_p: z.number().min(0).lt(1).default(0),
  repetition_penalty: z.number().gt(0).max(100).default(1),
  seed: z.int().min(Number.MIN_SAFE_INTEGER).max(Number.MAX_SAFE_INTEGER).optional(),
  stop: z
    .union([z.string().min(1), z.array(z.string().min(1)).max(16)], { message: 'a text or up to 16 texts' })
    .default([]),
  n: z.int().min(1).default(1),
  stream: z.boolean().default(false),
  stream_options: z
    .strictObject({ include_usage: z.boolean().default(false), include_obfuscation: z.boolean().optional() })
    .optional(),
  presence_penalty: nothing('presence_penalty').optional(),
  frequency_penalty: nothing('frequency_penalty').optional(),
  logit_bias: z.strictObject({}, { message: 'logit_bias is not known here; leave it out' }).optional(),
  // Heard and left alone.
  user: z.unknown().optional(),
  metadata: z.unknown().optional(),
  store: z.unknown().optional(),
  service_tier: z.unknown().optional(),
  safety_identifier: z.unknown().optional(),
  prompt_cache_key: z.unknown().optional(),
} as const;

const text = z.strictObject({ type: z.literal('text', { message: 'only text is read' }), text: z.string() });

const message = z.strictObject({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']),
  content: z.union([z.string(), z.array(text).min(1)], { message: 'a text, or parts of the type text' }),
  name: z.string().optional(),
  reasoning_content: z.string().optional(),
  tool_call_id: z.string().optional(),
  tool_calls: z.array(z.unknown()).max(0, { message: 'tools are not known here; leave them out' }).optional(),
});

const chatSchema = z.strictObject({
  ...sampling,
  messages: z.array(message).min(1),
  max_tokens: z.int().min(1).optional(),
  max_completion_tokens: z.int().min(1).optional(),
  logprobs: z.boolean().default(false),
  top_logprobs: nothing('top_logprobs').optional(),
  response_format: z
    .strictObject({ type: z.literal('text') }, { message: 'only {"type":"text"} can be promised' })
    .optional(),
  tools: z.array(z.unknown()).max(0, { message: 'tools are not known here; leave them out' }).optional(),
  tool_choice: z.literal('none', { message: 'tools are not known here; leave it out' }).optional(),
  parallel_tool_calls: z.unknown().optional(),
  modalities: z.array(z.literal('text')).optional(),
});

const ids = z.array(z.int().min(0)).min(1);

const textSchema = z.strictObject({
  ...sampling,
  prompt: z.union([z.string(), z.array(z.string()).min(1), ids, z.array(ids).min(1)], {
    message: 'a text, ids, or a list of these',
  }),
  max_tokens: z.int().min(1).default(16),
  logprobs: nothing('alternatives (logprobs above 0)').optional(),
  echo: z.literal(false, { message: 'the prompt is not said again; leave it out' }).optional(),
  suffix: z.literal('', { message: 'text cannot be filled in between; leave it out' }).optional(),
  best_of: z.literal(1, { message: 'leave it out, and ask for n completions' }).optional(),
});

/** A request to /v1/chat/completions. @throws Refusal naming the parameter */
export function readChat(body: unknown, can: Abilities): Asked {
  const r = parse(chatSchema, body);
  const prompt = [...renderPrompt(can.template, { messages: r.messages.map(messageOf) })];
  const stopIds = can.template.stopIds;
  const most = r.max_completion_tokens ?? r.max_tokens;
  return asked('chat', r, [prompt], most, r.logprobs, { stopIds, stop: can.template.stopTexts }, can);
}

/** A request to /v1/completions. @throws Refusal naming the parameter */
export function readText(body: unknown, can: Abilities): Asked {
  const r = parse(textSchema, body);
  const prompts = promptsOf(r.prompt, can.tokenizer);
  const stopIds = endIds(can.tokenizer);
  return asked('text', r, prompts, r.max_tokens, r.logprobs !== undefined, { stopIds, stop: [] }, can);
}

/** A body after its schema; null stands for what is left out, also in messages and options. */
function parse<S extends z.ZodObject>(schema: S, body: unknown): z.output<S> {
  const given = withoutNulls(body, (value) =>
    Array.isArray(value) ? value.map((one) => withoutNulls(one)) : withoutNulls(value),
  );
  const { data, error } = schema.safeParse(given);
  if (error) throw schemaRefusal(error, given, Object.keys(schema.shape));
  return data as z.output<S>;
}

function withoutNulls(value: unknown, inside: (value: unknown) => unknown = (same) => same): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value).filter(([, one]) => one !== null);
  return Object.fromEntries(entries.map(([name, one]) => [name, inside(one)]));
}

function messageOf({ role, content, name, reasoning_content }: z.output<typeof message>): Message {
  const extra = { ...(name !== undefined && { name }), ...(reasoning_content && { reasoning_content }) };
  return {
    role: role === 'developer' ? 'system' : role,
    content: typeof content === 'string' ? content : content.map((part) => part.text).join(''),
    ...(Object.keys(extra).length > 0 && { extra }),
  };
}

function promptsOf(prompt: z.output<typeof textSchema>['prompt'], tokenizer: Tokenizer): (readonly number[])[] {
  if (typeof prompt === 'string') return [promptIds(tokenizer, prompt)];
  if (typeof prompt[0] === 'number') return [prompt as number[]];
  return (prompt as (string | number[])[]).map((one) => (typeof one === 'string' ? promptIds(tokenizer, one) : one));
}

function asked(
  kind: Asked['kind'],
  r: Omit<z.output<typeof chatSchema>, 'messages' | 'logprobs' | 'top_logprobs'> | z.output<typeof textSchema>,
  prompts: readonly (readonly number[])[],
  most: number | undefined,
  logprobs: boolean,
  ends: { readonly stopIds: readonly number[]; readonly stop: readonly string[] },
  can: Abilities,
): Asked {
  if (r.n > can.parallel)
    throw badParameter('n', `n is ${r.n}; this server generates ${can.parallel} completions at once.`);
  const part = kind === 'chat' ? 'messages' : 'prompt';
  if (prompts.length > can.most)
    throw badParameter(part, `There are ${prompts.length} prompts; this server takes ${can.most} at once.`);
  return {
    kind,
    prompts: prompts.map((ids) => promptOf(ids, { param: part, n: r.n, most: most ?? can.maxTokens }, can)),
    options: {
      temperature: r.temperature,
      topP: r.top_p,
      topK: Math.max(r.top_k, 0),
      minP: r.min_p,
      repetitionPenalty: r.repetition_penalty,
      seed: r.seed === undefined ? randomInt(2 ** 31) : seedOf(r.seed),
      count: r.n,
      stopIds: ends.stopIds,
    },
    stop: [...[r.stop].flat(), ...ends.stop],
    stream: r.stream,
    usage: r.stream_options?.include_usage ?? false,
    logprobs,
  };
}

function promptOf(
  ids: readonly number[],
  { param, n, most }: { readonly param: string; readonly n: number; readonly most: number },
  can: Abilities,
): Prompt {
  refusePrompt(ids, param, can);
  const maxTokens = Math.min(most, can.context - ids.length, longestAnswer(ids.length, n, can.cacheTokens));
  if (maxTokens < 1)
    throw badParameter(
      'n',
      `${n} completions of a prompt of ${ids.length} tokens take more than the ${can.cacheTokens} that this server has room for; ask for fewer.`,
    );
  return { ids, maxTokens };
}

/** The engine's seeds are 32-bit integers, of which n follow each other. */
const seedOf = (seed: number): number => ((seed % 2 ** 31) + 2 ** 31) % 2 ** 31;

function refusePrompt(prompt: readonly number[], param: string, { context, vocabulary }: Abilities): void {
  if (prompt.length >= context)
    throw badParameter(
      param,
      `The prompt has ${prompt.length} tokens, but a request may have ${context} with its answer; send a shorter one.`,
      'context_length_exceeded',
    );
  const foreign = prompt.find((id) => id >= vocabulary);
  if (foreign !== undefined)
    throw badParameter(param, `The prompt holds the id ${foreign}; this model's ids are 0 to ${vocabulary - 1}.`);
}
