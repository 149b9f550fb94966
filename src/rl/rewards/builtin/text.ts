import { TrainMoeError } from '../../../errors.js';
import { answerPart } from '../math/index.js';
import { type Reward, skip, value } from '../types.js';

const tidy = (text: string): string => text.trim().replace(/\s+/g, ' ');
const noAnswer = 'the problem has no reference answer';
const needsAnswer = (problem: { readonly answer?: string }): string | undefined =>
  problem.answer === undefined || problem.answer.trim() === '' ? noAnswer : undefined;

/** 1 if the answer part is the reference, white space aside. @param options.ignoreCase compare without case */
export function exact(options: { readonly ignoreCase?: boolean } = {}): Reward {
  const form = (text: string): string => (options.ignoreCase ? tidy(text).toLowerCase() : tidy(text));
  return {
    name: 'exact',
    check: needsAnswer,
    score({ completion, answer }) {
      if (answer === undefined) return skip(noAnswer);
      return value(form(answerPart(completion)) === form(answer) ? 1 : 0);
    },
  };
}

/**
 * 1 if the completion matches a pattern. The pattern is the user's and runs on untrusted text, so a slow one is
 * stopped by the grader's deadline.
 * @throws TrainMoeError for a pattern that is none
 */
export function regex(options: { readonly pattern: string; readonly flags?: string }): Reward {
  if (typeof options?.pattern !== 'string') {
    throw new TrainMoeError(
      'bad-config',
      'The regex reward needs a pattern; give { "pattern": "..." } as its options.',
    );
  }
  let pattern: RegExp;
  try {
    pattern = new RegExp(options.pattern, (options.flags ?? '').replace(/[gy]/g, ''));
  } catch (error) {
    throw new TrainMoeError('bad-config', `The regex reward's pattern cannot be read: ${(error as Error).message}.`);
  }
  return { name: 'regex', score: ({ completion }) => value(pattern.test(completion) ? 1 : 0) };
}

const TAGS = ['<think>', '</think>', '<answer>', '</answer>'];

/** Why a completion is not `<think>..</think> <answer>..</answer>` and nothing else; undefined if it is. */
export function formatFault(completion: string): string | undefined {
  const text = completion.trim();
  const places = TAGS.map((tag) => text.indexOf(tag));
  for (const [i, place] of places.entries()) {
    if (place < 0) return `${TAGS[i]} is missing`;
    if (text.indexOf(TAGS[i]!, place + 1) >= 0) return `${TAGS[i]} stands more than once`;
    if (i > 0 && place < places[i - 1]!) return `${TAGS[i]} stands before ${TAGS[i - 1]}`;
  }
  const between = (i: number): string => text.slice(places[i]! + TAGS[i]!.length, places[i + 1]).trim();
  if (places[0] !== 0 || between(1) !== '' || places[3]! + TAGS[3]!.length !== text.length)
    return 'text stands outside the tags';
  if (between(0) === '' || between(2) === '') return 'a tag is empty';
  return undefined;
}

/**
 * 1 if the completion thinks and then answers, each once and inside its tags (DeepSeek-R1, section 2.2.2).
 * @param options.opened the prompt ends in `<think>`, so that the completion starts behind it
 */
export function format(options: { readonly opened?: boolean } = {}): Reward {
  return {
    name: 'format',
    score({ completion }) {
      const fault = formatFault(options.opened ? `<think>${completion}` : completion);
      return fault === undefined ? value(1) : value(0, { fault });
    },
  };
}

/** Which lengths are rewarded. */
export interface LengthOptions {
  /** Lengths beyond this one get -1. */
  readonly max: number;
  /** The last part of `max`, over which the punishment grows from 0 to -1. Default: a fifth of `max`. */
  readonly soft?: number;
  /** "tokens" are taken from the sample's `meta.tokens`. */
  readonly unit?: 'tokens' | 'characters';
}

/**
 * Soft punishment of overlong completions: 0 up to max - soft, then (max - soft - length) / soft, -1 beyond max.
 * DAPO, arXiv:2503.14476, equation 13.
 * @throws TrainMoeError for lengths that are not positive
 */
export function length(options: LengthOptions): Reward {
  const { max, soft = max / 5, unit = 'tokens' } = options ?? {};
  if (!(max > 0 && soft > 0 && soft <= max)) {
    throw new TrainMoeError(
      'bad-config',
      `The length reward needs 0 < soft <= max; it was given max ${max}, soft ${soft}.`,
    );
  }
  return {
    name: 'length',
    score({ completion, meta }) {
      const size = unit === 'tokens' ? meta?.tokens : completion.length;
      if (typeof size !== 'number') return skip('the sample has no meta.tokens to measure its length by');
      return value(Math.max(-1, Math.min(0, (max - soft - size) / soft)), { length: size });
    },
  };
}
