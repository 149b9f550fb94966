import { flagOf } from '../../config/flag_name.js';
import type { EngineOptions } from '../../generate/index.js';
import { generatingBytes, type RequestSize, requestTokens, weightBytes } from '../../generate/memory.js';
import { contextOf, type Model } from '../../models/family.js';
import { countParameters } from '../../nn/param.js';
import { bytesOf } from '../../tensor/index.js';
import { passBytes } from '../../train/estimate.js';
import { type Choices, halvings } from '../../train/fit.js';

type Dtype = 'f32' | 'bf16';

/** Tokens that the cache must hold for completions of one prompt. */
export const cacheTokensFor = (model: Model, prompt: number, { count, maxTokens }: RequestSize): number =>
  requestTokens(prompt, { count, maxTokens: Math.min(maxTokens, contextOf(model) - prompt) });

/** Choices of a command that samples: fewer completions, then arithmetic in bf16, then shorter ones. */
export function sampleChoices(
  model: Model,
  prompt: number,
  size: RequestSize,
): Choices<RequestSize & { dtype: Dtype }> {
  const held = ({ dtype, ...s }: RequestSize & { dtype: Dtype }) =>
    generatingBytes(model, dtype, { cacheTokens: cacheTokensFor(model, prompt, s) });
  const narrow = model.dtype === 'f32' ? [{ dtype: 'bf16' as const }] : [];
  const longest = Math.min(size.maxTokens, contextOf(model));
  return {
    now: { count: size.count, maxTokens: size.maxTokens, dtype: model.dtype },
    candidates: [
      ...halvings(size.count).map((count) => ({ count })),
      ...narrow,
      ...halvings(longest).map((maxTokens) => ({ maxTokens })),
      ...halvings(longest).map((maxTokens) => ({ maxTokens, count: 1, ...narrow[0] })),
    ],
    bytes: (s) => held(s) + passBytes(model, s.dtype, prompt, s.count),
    least: held,
    flag: flagOf,
  };
}

interface ScoreSize {
  readonly rows: number;
  readonly length: number;
}

/** Choices of a command that scores text: fewer windows at once, which changes no score, then bf16, then shorter windows. */
export function scoreChoices(model: Model, size: ScoreSize): Choices<ScoreSize & { dtype: Dtype }> {
  const narrow = model.dtype === 'f32' ? [{ dtype: 'bf16' as const }] : [];
  return {
    now: { ...size, dtype: model.dtype },
    candidates: [
      ...halvings(size.rows).map((rows) => ({ rows })),
      ...narrow,
      ...halvings(size.length).map((length) => ({ length })),
      ...halvings(size.length).map((length) => ({ length, rows: 1, ...narrow[0] })),
    ],
    bytes: ({ rows, length, dtype }) => weightBytes(model, dtype) + passBytes(model, dtype, rows * length),
    least: ({ dtype }) => weightBytes(model, dtype),
    flag: flagOf,
  };
}

/** The engine of one conversation. */
export const chatEngine = (context: number): EngineOptions => ({ cacheTokens: context, maxBatch: 1 });

interface ChatSize {
  readonly context: number;
}

/** Choices of a conversation: fewer of its tokens, then arithmetic in bf16, then both. */
export function chatChoices(model: Model, context: number): Choices<ChatSize & { dtype: Dtype }> {
  const narrow = model.dtype === 'f32' ? [{ dtype: 'bf16' as const }] : [];
  const held = ({ dtype, context: tokens }: ChatSize & { dtype: Dtype }) =>
    generatingBytes(model, dtype, chatEngine(tokens));
  const fewer = halvings(context).filter((tokens) => tokens > 1);
  return {
    now: { context, dtype: model.dtype },
    candidates: [
      ...fewer.map((tokens) => ({ context: tokens })),
      ...narrow,
      ...narrow.flatMap((n) => fewer.map((tokens) => ({ context: tokens, ...n }))),
    ],
    bytes: (s) => held(s) + passBytes(model, s.dtype, s.context, 1),
    least: held,
    flag: flagOf,
  };
}

interface ForwardSize {
  /** Of the input: no flag, but what the file holds. */
  readonly rows: number;
  readonly grads: boolean;
}

/** Choices of a forward pass over a file's inputs, whose logits and hidden states are all kept. */
export function forwardChoices(
  model: Model,
  [rows, length]: readonly [number, number],
  grads: boolean,
): Choices<ForwardSize & { dtype: Dtype }> {
  const { family, config } = model;
  const { hidden } = config as { readonly hidden: number };
  const narrow = model.dtype === 'f32' ? [{ dtype: 'bf16' as const }] : [];
  const weights = (dtype: Dtype, g: boolean) =>
    weightBytes(model, dtype) + (g ? 4 * countParameters(family.specs(config)) : 0);
  const kept = (n: number, dtype: Dtype) => n * length * hidden * (family.layers(config) + 1) * bytesOf(dtype);
  return {
    now: { rows, grads, dtype: model.dtype },
    candidates: [
      ...(grads ? [{ grads: false }] : []),
      ...narrow,
      ...halvings(rows).map((n) => ({ rows: n })),
      ...(grads ? narrow.map((n) => ({ grads: false, ...n })) : []),
    ],
    bytes: (s) =>
      weights(s.dtype, s.grads) +
      kept(s.rows, s.dtype) * (s.grads ? 12 : 1) +
      (s.grads ? 2 : 1) * 4 * s.rows * length * family.vocabulary(config) +
      passBytes(model, s.dtype, s.rows * length),
    least: (s) => weights(s.dtype, s.grads),
    flag: (name) => (name === 'rows' ? 'input_ids with rows:' : flagOf(name)),
  };
}
