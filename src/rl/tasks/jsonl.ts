import { TrainMoeError } from '../../errors.js';
import { math, number } from '../rewards/builtin/answers.js';
import { exact } from '../rewards/builtin/text.js';
import { hashIntegers } from './random.js';
import { type Row, readRows, textField } from './rows.js';
import { taskOfProblems } from './rows_task.js';
import type { Problem, Task } from './types.js';

/** Where the problems are, and which fields hold what. */
export interface JsonlOptions {
  /** Path of a JSON Lines file. */
  readonly train: string;
  /** Held-out problems. Without a file, a share of `train` is held out by the hash of its prompts. */
  readonly test?: string;
  readonly testShare?: number;
  /** Field names. */
  readonly prompt?: string;
  readonly answer?: string;
  /** The answer stands behind the last of these marks, if there is one. Default "####". */
  readonly mark?: string;
  readonly rewards?: Problem['rewards'];
  readonly name?: string;
}

/** Rewards that can tell at load whether a reference is readable. */
const CHECKS = { math: math(), number: number(), exact: exact() } as const;

/**
 * Problems from a JSON Lines file with a prompt and an answer a line.
 * @throws TrainMoeError for lines that are no objects, missing fields, and references that the rewards cannot read
 */
export function jsonl(options: JsonlOptions): Task {
  if (typeof options?.train !== 'string') {
    throw new TrainMoeError(
      'bad-config',
      `The task ${options?.name ?? 'jsonl'} needs a file of problems; give { "train": "problems.jsonl" } as taskOptions (--task-options).`,
    );
  }
  const name = options.name ?? 'jsonl';
  const problems = readRows(options.train).map((row) => problemOf(row, options));
  if (options.test !== undefined) {
    return taskOfProblems(
      name,
      problems,
      readRows(options.test).map((row) => problemOf(row, options)),
    );
  }
  const share = options.testShare ?? 0.05;
  const isTest = ({ prompt }: Problem): boolean => hashText(prompt.trim()) / 2 ** 32 < share;
  return taskOfProblems(
    name,
    problems.filter((problem) => !isTest(problem)),
    problems.filter(isTest),
  );
}

/** GSM8K: fields question and answer, the number behind "####". Cobbe et al., arXiv:2110.14168. */
export function gsm8k(options: Omit<JsonlOptions, 'prompt' | 'answer' | 'mark'>): Task {
  return jsonl({ name: 'gsm8k', prompt: 'question', answer: 'answer', rewards: ['number', 'format'], ...options });
}

function problemOf(row: Row, options: JsonlOptions): Problem {
  const { prompt = 'prompt', answer = 'answer', mark = '####', rewards = ['math', 'format'] } = options;
  const whole = textField(row, answer);
  const at = mark === '' ? -1 : whole.lastIndexOf(mark);
  const gold = (at < 0 ? whole : whole.slice(at + mark.length)).trim();
  const problem: Problem = { prompt: textField(row, prompt), answer: gold, rewards };
  for (const reward of rewards) {
    const reader = CHECKS[(typeof reward === 'string' ? reward : reward.name) as keyof typeof CHECKS];
    const fault = reader?.check?.(problem);
    if (fault !== undefined) throw new TrainMoeError('bad-data', `${row.place}: ${fault}.`);
  }
  return problem;
}

function hashText(text: string): number {
  let state = text.length;
  for (let i = 0; i < text.length; i++) state = hashIntegers(state, text.charCodeAt(i));
  return state;
}
