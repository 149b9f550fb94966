import { flagOf } from '../../config/flag_name.js';
import type { Model } from '../../models/family.js';
import { estimateMemory, leastMemory } from '../../train/estimate.js';
import { type Choices, halvings } from '../../train/fit.js';
import type { PreferenceConfig } from './config.js';
import type { Examples, Subject } from './lesson.js';

/** The settings that decide the memory of a run on preferences. */
export type PreferenceSize = Pick<PreferenceConfig, 'rowsAtOnce' | 'recompute' | 'maxLength'>;

/** Its longest example: how many texts it has, all in one pass, and how many tokens they have together. */
export interface LongestExample {
  readonly texts: number;
  readonly tokens: number;
}

/** The longest of all examples, those to test on too. */
export function longestOf<E, C extends PreferenceConfig>(
  subject: Subject<E, C>,
  { train, test }: Examples<E>,
): LongestExample {
  return [...train, ...test].reduce(
    (longest, example) => {
      const texts = subject.textsOf(example);
      const tokens = texts.reduce((n, { ids }) => n + ids.length, 0);
      return tokens > longest.tokens ? { texts: texts.length, tokens } : longest;
    },
    { texts: 1, tokens: 0 },
  );
}

/**
 * Choices of a run on preferences: changes that keep the result come first (the rows of a pass, recomputation), then leaving
 * out examples that have a long text.
 */
export function preferenceChoices(
  model: Pick<Model, 'family' | 'config' | 'dtype'>,
  config: Pick<PreferenceConfig, keyof PreferenceSize | 'batch'>,
  longest: LongestExample,
): Choices<PreferenceSize> {
  const { rowsAtOnce, recompute, maxLength, batch } = config;
  const largest = (length: number) => Math.min(longest.tokens, longest.texts * length);
  const whole = batch * longest.tokens;
  const rows = halvings(Math.min(rowsAtOnce, whole)).filter((n) => n >= longest.tokens);
  const again = recompute ? {} : { recompute: true };
  const shorter = halvings(Math.min(maxLength, Math.ceil(longest.tokens / longest.texts)));
  return {
    now: { rowsAtOnce, recompute, maxLength },
    candidates: [
      ...rows.map((n) => ({ rowsAtOnce: n })),
      ...(recompute ? [] : [again]),
      ...rows.map((n) => ({ rowsAtOnce: n, ...again })),
      ...shorter.map((n) => ({ maxLength: n, rowsAtOnce: Math.min(rowsAtOnce, longest.texts * n), ...again })),
    ],
    bytes: (s) => {
      const one = largest(s.maxLength); // a longer one than rowsAtOnce is a pass of its own
      const tokens = Math.min(Math.max(s.rowsAtOnce, one), batch * one);
      return estimateMemory(model, { dtype: model.dtype, tokens, moments: 'f32', recompute: s.recompute }).total;
    },
    least: () => leastMemory(model, { dtype: model.dtype, tokens: 0, moments: 'f32', recompute }),
    flag: flagOf,
  };
}
