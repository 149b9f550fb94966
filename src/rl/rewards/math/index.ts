/**
 * The math verifier: is this LaTeX the same answer as that one? Rationals are compared exactly, rational functions
 * modulo a prime, the rest at random points; sets, intervals, tuples, equations, units and words each by their rule.
 */
export { type ParsedAnswer, type ParseResult, parseFinalAnswer } from './answer.js';
export { equalAnswers } from './equal.js';
export { type AnswerPlace, answerPart, finalAnswer, lastBoxed } from './extract.js';

import { parseFinalAnswer } from './answer.js';
import { equalAnswers } from './equal.js';

/** Whether two answers are equal; undefined if the reference cannot be read, false if only the other cannot. */
export function sameAnswer(gold: string, given: string): boolean | undefined {
  const a = parseFinalAnswer(gold);
  if ('unreadable' in a) return undefined;
  const b = parseFinalAnswer(given);
  return !('unreadable' in b) && equalAnswers(a, b);
}
