import { TrainMoeError } from '../../../errors.js';
import {
  type AnswerPlace,
  answerPart,
  equalAnswers,
  finalAnswer,
  lastBoxed,
  type ParsedAnswer,
  parseFinalAnswer,
} from '../math/index.js';
import { type Reward, skip, value } from '../types.js';

/** A parsed reference, or why it cannot be one. */
function reference(answer: string | undefined): ParsedAnswer | string {
  if (answer === undefined) return 'the problem has no reference answer';
  const parsed = parseFinalAnswer(lastBoxed(answer) ?? answer);
  return 'unreadable' in parsed ? `the reference answer cannot be read: ${parsed.unreadable}` : parsed;
}

const checkReference = ({ answer }: { readonly answer?: string }): string | undefined => {
  const gold = reference(answer);
  return typeof gold === 'string' ? gold : undefined;
};

/**
 * 1 if the completion's final answer equals the reference as mathematics. An unreadable reference is a fault of the
 * data (skip), an unreadable completion is a wrong answer (0).
 * @param options.place "boxed" takes nothing but \boxed{..}; "any" (default) also the other customary places
 */
export function math(options: { readonly place?: AnswerPlace } = {}): Reward {
  const place = options.place ?? 'any';
  if (place !== 'any' && place !== 'boxed') {
    throw new TrainMoeError('bad-config', `The math reward's place is "${place}"; it must be "any" or "boxed".`);
  }
  return {
    name: 'math',
    check: checkReference,
    score({ completion, answer }) {
      const gold = reference(answer);
      if (typeof gold === 'string') return skip(gold);
      const found = finalAnswer(completion, place);
      if (found === undefined) return value(0, { fault: 'there is no final answer' });
      const given = parseFinalAnswer(found);
      if ('unreadable' in given) return value(0, { fault: given.unreadable });
      return value(equalAnswers(gold, given) ? 1 : 0, { answer: found.slice(0, 200) });
    },
  };
}

/** The end of a text, where its answer is looked for. */
const TAIL = 4096;
const NUMBER = /[-−]?\s?[$€£]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:\/\d+)?/g;

/** The last number of a text, without signs of currency and thousands; undefined where there is none. */
export function lastNumber(text: string): string | undefined {
  const last = [...text.slice(-TAIL).matchAll(NUMBER)].at(-1);
  if (!last) return undefined;
  // In "3-4" and "x - 4" the dash subtracts, in "is -4" it does not.
  const before = text.slice(-TAIL).slice(0, last.index);
  const spaced = /^[-−]\s/.test(last[0]) && /(?:[\d)]|\b[A-Za-z])\s*$/.test(before);
  const subtracts = /^[-−]/.test(last[0]) && (spaced || /[\w)]$/.test(before));
  const digits = last[0].replace(/[\s,$€£]/g, '').replace('−', '-');
  return subtracts ? digits.slice(1) : digits;
}

/** 1 if the last number of the answer (in a box, after ####, or anywhere) is the reference, as in GSM8K. */
export function number(): Reward {
  const goldOf = (answer: string | undefined): ParsedAnswer | string => {
    const digits = answer === undefined ? undefined : lastNumber(answer);
    return digits === undefined ? 'the reference answer holds no number' : reference(digits);
  };
  return {
    name: 'number',
    check({ answer }) {
      const gold = goldOf(answer);
      return typeof gold === 'string' ? gold : undefined;
    },
    score({ completion, answer }) {
      const gold = goldOf(answer);
      if (typeof gold === 'string') return skip(gold);
      const text = answerPart(completion);
      const hashes = text.lastIndexOf('####');
      const found = lastNumber(lastBoxed(text) ?? (hashes >= 0 ? text.slice(hashes).split('\n', 1)[0]! : text));
      if (found === undefined) return value(0, { fault: 'there is no number' });
      const given = parseFinalAnswer(found);
      return value(!('unreadable' in given) && equalAnswers(gold, given) ? 1 : 0, { answer: found });
    },
  };
}
