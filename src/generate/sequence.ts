import type { ResolvedOptions } from './options.js';
import type { PagePool } from './pool.js';

/** Why a completion ended: an id or a text that ends it, its length, or somebody's wish. */
export type FinishReason = 'stop' | 'length' | 'cancelled';

/** One completion while it is being generated. */
export interface Sequence {
  readonly request: number;
  /** Which completion of its prompt. */
  readonly index: number;
  readonly prompt: readonly number[];
  readonly options: ResolvedOptions;
  readonly ids: number[];
  readonly logprobs: number[];
  readonly pages: number[];
  /** Tokens whose keys are in the cache. */
  cached: number;
  finish: FinishReason | undefined;
}

/** Prompt and completion together. */
export const lengthOf = (s: Sequence): number => s.prompt.length + s.ids.length;

export const tokenAt = (s: Sequence, i: number): number =>
  i < s.prompt.length ? s.prompt[i]! : s.ids[i - s.prompt.length]!;

/** Tokens of a page, where no other number is asked for. */
export const PAGE_SIZE = 32;

/** Pages that a prompt of `length` tokens with `count` completions may come to need. */
export function pagesNeeded(
  length: number,
  options: Pick<ResolvedOptions, 'count' | 'maxTokens'>,
  pageSize: number,
): number {
  const shared = Math.floor(length / pageSize);
  const whole = Math.ceil((length + options.maxTokens) / pageSize);
  return shared + options.count * (whole - shared);
}

/** Gives the sequence pages for its next `count` tokens and returns their slots: page * pageSize + offset. */
export function slotsFor(s: Sequence, count: number, pool: PagePool): number[] {
  const slots: number[] = [];
  for (let i = s.cached; i < s.cached + count; i++) {
    const page = Math.floor(i / pool.pageSize);
    if (page === s.pages.length) s.pages.push(pool.take());
    slots.push(s.pages[page]! * pool.pageSize + (i % pool.pageSize));
  }
  return slots;
}

/** A second completion of the same prompt: shares its full pages and copies the last, partly filled one. */
export function fork(s: Sequence, index: number, pool: PagePool): Sequence {
  const pages = s.pages.map((page, i) => {
    if ((i + 1) * pool.pageSize <= s.cached) {
      pool.share(page);
      return page;
    }
    const own = pool.take();
    pool.copy(page, own);
    return own;
  });
  return { ...s, index, ids: [], logprobs: [], pages, finish: undefined };
}
