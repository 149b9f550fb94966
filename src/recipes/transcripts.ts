import { type Draw, draw } from '../rl/tasks/random.js';
import type { Problem, Task } from '../rl/tasks/types.js';
import { workOf } from './work.js';

/**
 * What a small base reads about a task before any reinforcement learning: people who mostly guess, and a few who work step
 * by step; some inside tags, some in two languages at once, some with a whole sentence for an answer. A guess is seldom
 * right and work always is, so that the base holds a behaviour for a reward to select, as a large base does from the web.
 */

/** Shares of the transcripts that have a habit; habits are drawn apart from each other. */
export interface Habits {
  /** Work step by step; the others guess. */
  readonly worked: number;
  /** Thinking and answer inside their tags. */
  readonly tagged: number;
  /** Work with words of a second language among those of the first. */
  readonly mixed: number;
  /** The answer is a sentence, not a bare number. */
  readonly spoken: number;
  /** A guess is off by up to so much. */
  readonly spread: number;
}

export interface Transcript {
  readonly prompt: string;
  readonly completion: string;
}

/** Connecting words of the two languages. */
export const CONNECTIVES = { en: ['then', 'next', 'so'], zh: ['然后', '接着', '所以'] } as const;

/** Keeps the draws of transcripts apart from those of problems. */
const STREAM = 0x7a11;

/** A transcript of the training problem `index`. The same arguments give the same transcript. */
export function transcript(task: Task, habits: Habits, seed: number, index: number): Transcript {
  const problem = task.train(index, seed);
  const random = draw(STREAM, seed, index);
  const has = (share: number): boolean => random.integer(0, 9999) < share * 10_000;
  const [worked, tagged, mixed, spoken] = [habits.worked, habits.tagged, habits.mixed, habits.spoken].map(has);
  const value = worked ? problem.answer! : guess(random, problem, habits.spread);
  const thought = worked
    ? joined(workOf(questionOf(problem)), () => random.pick(CONNECTIVES[mixed && has(0.5) ? 'zh' : 'en']))
    : 'easy';
  return { prompt: problem.prompt, completion: written(thought, value, { tagged: tagged!, spoken: spoken! }) };
}

/** Thought and answer, inside their tags or one after the other. */
export function written(thought: string, value: string, form: { readonly tagged: boolean; readonly spoken: boolean }) {
  const answer = form.spoken ? `The answer is ${value}.` : value;
  return form.tagged ? `<think>${thought}</think><answer>${answer}</answer>` : ` ${thought}: ${answer}`;
}

/** The same thought in the first language: each connecting word of the second one is replaced by its like. */
export function inEnglish(text: string): string {
  return CONNECTIVES.zh.reduce((changed, word, i) => changed.replaceAll(word, CONNECTIVES.en[i]!), text);
}

/** Steps with a word between each two. */
export function joined(steps: readonly string[], word: () => string): string {
  return steps.reduce((text, step) => (text === '' ? step : `${text} ${word()} ${step}`), '');
}

function guess(random: Draw, { answer }: Problem, spread: number): string {
  return String(BigInt(answer!) + BigInt(random.integer(-spread, spread)));
}

/** The expression that a problem of arithmetic asks for. */
export function questionOf({ meta, prompt }: Problem): string {
  return typeof meta?.question === 'string' ? meta.question : prompt;
}
