import { flagOf } from '../config/flag_name.js';
import { generatingBytes, requestTokens } from '../generate/memory.js';
import type { Model } from '../models/family.js';
import { passBytes } from '../train/estimate.js';
import { type Choices, halvings } from '../train/fit.js';

type Shape = Pick<Model, 'family' | 'config'>;

/** The settings that decide how much memory an evaluation takes. */
interface MeasureSize {
  readonly samples: number;
  readonly maxTokens: number;
  readonly dtype: 'f32' | 'bf16';
}

/** Completions in flight, and the rows of a pass over finished ones. */
export interface AtOnce {
  readonly completions: number;
  readonly rows: number;
}

/** The most of both. How many changes no result. */
const MOST: AtOnce = { completions: 128, rows: 16_384 };

/** Tokens of the cache, for prompts of up to `prompt`. */
export const cacheTokens = (prompt: number, { maxTokens }: MeasureSize, { completions }: AtOnce): number =>
  completions * requestTokens(prompt, { count: 1, maxTokens });

/** Both halved until an evaluation fits into `room` bytes with some to spare, but for all completions of one question. */
export function atOnce(model: Shape, prompt: number, size: MeasureSize, room: number): AtOnce {
  const [least] = steps(size, prompt).slice(-1);
  return steps(size, prompt).find((one) => bytesOfRun(model, prompt, size, one) <= 0.8 * room) ?? least!;
}

/** Choices where even the smallest does not fit: fewer completions of a question, bf16, shorter completions. */
export function measureChoices(
  model: Shape,
  prompt: number,
  { samples, maxTokens, dtype }: MeasureSize,
): Choices<MeasureSize> {
  const narrow = dtype === 'f32' ? [{ dtype: 'bf16' as const }] : [];
  const smallest = (size: MeasureSize) => steps(size, prompt).at(-1)!;
  return {
    now: { samples, maxTokens, dtype },
    candidates: [
      ...halvings(samples).map((n) => ({ samples: n })),
      ...narrow,
      ...halvings(maxTokens).map((n) => ({ maxTokens: n })),
      ...halvings(maxTokens).map((n) => ({ maxTokens: n, samples: 1, ...narrow[0] })),
    ],
    bytes: (size) => bytesOfRun(model, prompt, size, smallest(size)),
    least: (size) => held(model, prompt, size, smallest(size)),
    flag: flagOf,
  };
}

/** From the most to what one question takes. */
function steps(size: MeasureSize, prompt: number): AtOnce[] {
  const least = { completions: size.samples, rows: prompt + size.maxTokens };
  const at = (share: number): AtOnce => ({
    completions: Math.max(least.completions, Math.floor(MOST.completions / share)),
    rows: Math.max(least.rows, Math.floor(MOST.rows / share)),
  });
  return [1, 2, 4, 8, 16, 32, 64, 128].map(at);
}

const held = (model: Shape, prompt: number, size: MeasureSize, one: AtOnce): number =>
  generatingBytes(model, size.dtype, { cacheTokens: cacheTokens(prompt, size, one) });

const bytesOfRun = (model: Shape, prompt: number, size: MeasureSize, one: AtOnce): number =>
  held(model, prompt, size, one) + passBytes(model, size.dtype, one.rows, one.completions);
