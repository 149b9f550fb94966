import { createHash } from 'node:crypto';
import { KeySet } from '../../data/dedup.js';
import { language } from '../rewards/builtin/language.js';
import { isSkipped } from '../rewards/types.js';
import type { Sample } from '../sample.js';
import type { CurateConfig } from './config.js';

/** Why a completion is not kept, in the order in which it is asked. */
export const REASONS = [
  'truncated', // cut at maxTokens
  'ungraded', // a grader failed on it
  'wrong', // the first reward says so
  'malformed', // the format reward says so
  'reward', // less than minReward
  'pattern', // lacks a required one, or has a forbidden one
  'short',
  'long',
  'language',
  'repetition',
  'duplicate',
  'surplus', // its question has enough of them
] as const;

/** Why a completion was dropped. */
export type Reason = (typeof REASONS)[number];

/** Looks at a completion's form; undefined where there is nothing against it. */
export type TextFilter = (sample: Pick<Sample, 'ids' | 'text'>) => Reason | undefined;

/** Tokens of the sequences that repetition is counted in. */
const SPAN = 8;

/** The filters for length, language and repetition that the settings ask for. */
export function textFilter(c: CurateConfig): TextFilter {
  const judge = c.language === undefined ? undefined : language({ language: c.language });
  return ({ ids, text }) => {
    if (ids.length < c.minLength || text.trim() === '') return 'short';
    if (c.maxLength !== undefined && ids.length > c.maxLength) return 'long';
    if (judge) {
      const share = judge.score({ prompt: '', completion: text }) as Awaited<ReturnType<typeof judge.score>>;
      if (!isSkipped(share) && share.value < c.languageShare) return 'language';
    }
    return repeatedShare(ids) > c.maxRepetition ? 'repetition' : undefined;
  };
}

/** The share of 8-token sequences that occurred before in the same text, in [0, 1]; 0 for shorter ones. */
export function repeatedShare(ids: readonly number[]): number {
  const total = ids.length - SPAN + 1;
  if (total <= 0) return 0;
  const distinct = new Set<string>();
  for (let at = 0; at < total; at++) distinct.add(ids.slice(at, at + SPAN).join());
  return 1 - distinct.size / total;
}

/** Texts that differ in case, white space and the form of their characters only are one. */
export const normalised = (text: string): string => text.normalize('NFKC').toLowerCase().replace(/\s+/g, ' ').trim();

/** Remembers texts as 128 bits of the hash of their normal form. */
export class SeenTexts {
  private readonly keys = new KeySet();

  /** Whether it was not there yet. */
  add(texts: readonly string[]): boolean {
    return this.keys.add(createHash('sha256').update(texts.map(normalised).join('\0')).digest());
  }
}
