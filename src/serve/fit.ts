import { flagOf } from '../config/flag_name.js';
import { generatingBytes } from '../generate/memory.js';
import type { Model } from '../models/family.js';
import { passBytes } from '../train/estimate.js';
import { type Choices, halvings } from '../train/fit.js';
import type { ServeConfig } from './config.js';

type Shape = Pick<Model, 'family' | 'config'>;

/** The settings that decide how much memory the server takes. */
type ServeSize = Pick<ServeConfig, 'parallel' | 'dtype'> & { readonly context: number; readonly cacheTokens: number };

/** Tokens of the cache: for all completions at once at their longest, or half as many, .. until they fit into `room` bytes. */
export function cacheTokensFor(model: Shape, size: Omit<ServeSize, 'cacheTokens'>, room: number): number {
  const most = size.parallel * size.context;
  const sizes = [most, ...halvings(most)].filter((tokens) => tokens >= size.context);
  const fits = (cacheTokens: number) => bytesOfServer(model, { ...size, cacheTokens }) <= 0.7 * room;
  return sizes.find(fits) ?? size.context;
}

/** Choices of the server: a smaller cache, which lets requests wait for each other, bf16, shorter requests. */
export function serveChoices(model: Shape, now: ServeSize): Choices<ServeSize> {
  const narrow = now.dtype === 'f32' ? [{ dtype: 'bf16' as const }] : [];
  const shorter = halvings(now.context)
    .filter((context) => context > 1)
    .map((context) => ({ context, cacheTokens: context }));
  return {
    now,
    candidates: [
      ...halvings(now.cacheTokens)
        .filter((tokens) => tokens >= now.context)
        .map((cacheTokens) => ({ cacheTokens })),
      ...narrow,
      ...shorter,
      ...narrow.flatMap((n) => shorter.map((s) => ({ ...s, ...n }))),
    ],
    bytes: (size) => bytesOfServer(model, size),
    least: (size) => held(model, size),
    flag: flagOf,
  };
}

const held = (model: Shape, { dtype, cacheTokens }: ServeSize): number =>
  generatingBytes(model, dtype, { cacheTokens });

const bytesOfServer = (model: Shape, size: ServeSize): number =>
  held(model, size) + passBytes(model, size.dtype, size.context, size.parallel);
