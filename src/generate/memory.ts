import { type CacheForm, cacheShapeOf, type Model } from '../models/family.js';
import { countParameters } from '../nn/param.js';
import { bytesOf, sizeOf } from '../tensor/index.js';
import type { EngineOptions } from './engine.js';
import { PAGE_SIZE, pagesNeeded } from './sequence.js';

/* What takes memory while a model generates, and how much of it a request may come to need; in pages of the default size. */

type Shape = Pick<Model, 'family' | 'config'>;

/** Completions of one prompt. */
export interface RequestSize {
  readonly count: number;
  readonly maxTokens: number;
}

/** Tokens of a cache that holds the completions of a prompt of so many tokens. */
export const requestTokens = (prompt: number, size: RequestSize): number =>
  PAGE_SIZE * pagesNeeded(prompt, size, PAGE_SIZE);

/** Tokens that `count` completions of a prompt may have each, so that the cache holds them; less than 1 where it does not. */
export function longestAnswer(prompt: number, count: number, cacheTokens: number): number {
  const shared = Math.floor(prompt / PAGE_SIZE);
  const own = Math.floor((Math.ceil(cacheTokens / PAGE_SIZE) - shared) / count);
  return (shared + own) * PAGE_SIZE - prompt;
}

/** Bytes of an engine's key cache. */
export function cacheBytes(
  { family, config, dtype }: Pick<Model, 'family' | 'config' | 'dtype'>,
  { cacheTokens = 0 }: EngineOptions,
  form: CacheForm,
): number {
  const { key, value, shared } = cacheShapeOf({ family, config }, form);
  const perToken = [key, value, shared].reduce((sum, shape) => sum + (shape ? sizeOf(shape) : 0), 0);
  return cacheTokens * family.layers(config) * perToken * bytesOf(dtype);
}

export const weightBytes = ({ family, config }: Shape, dtype: Model['dtype']): number =>
  countParameters(family.specs(config)) * bytesOf(dtype);

/** Bytes of a model that generates, and of its engine's cache of latents. */
export const generatingBytes = (model: Shape, dtype: Model['dtype'], engine: EngineOptions): number =>
  weightBytes(model, dtype) + cacheBytes({ ...model, dtype }, engine, 'latent');
