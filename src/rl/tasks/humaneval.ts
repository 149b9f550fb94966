import { TrainMoeError } from '../../errors.js';
import { hashIntegers } from './random.js';
import { readRows, textField } from './rows.js';
import { taskOfProblems } from './rows_task.js';
import type { Problem, Task } from './types.js';

/** Where the problems are, and how they are split. */
export interface CodeTaskOptions {
  /** Path of a JSON Lines file with task_id, prompt, entry_point and test. */
  readonly train: string;
  readonly test?: string;
  readonly testShare?: number;
  readonly rewards?: Problem['rewards'];
}

/**
 * Code problems as in HumanEval: the prompt is a signature with its description, the tests define `check(candidate)`.
 * Chen et al., arXiv:2107.03374. Graded in the sandbox.
 * @throws TrainMoeError for lines that are no such problems
 */
export function humaneval(options: CodeTaskOptions): Task {
  if (typeof options?.train !== 'string') {
    throw new TrainMoeError(
      'bad-config',
      'The task humaneval needs a file of problems; give { "train": "HumanEval.jsonl" } as taskOptions (--task-options).',
    );
  }
  const { rewards = ['code'], testShare = 0.5 } = options;
  const read = (file: string): { problem: Problem; place: number }[] =>
    readRows(file).map((row, place) => {
      const [prefix, entryPoint, test] = ['prompt', 'entry_point', 'test'].map((field) => textField(row, field)) as [
        string,
        string,
        string,
      ];
      const prompt = `Complete this Python function. Answer with the whole function in a code block.\n\n${prefix}`;
      const meta = { prefix, entryPoint, test: `${test}\ncheck(${entryPoint})` };
      return { problem: { prompt, rewards, meta }, place };
    });
  const problems = read(options.train);
  if (options.test !== undefined) {
    return taskOfProblems(
      'humaneval',
      problems.map(({ problem }) => problem),
      read(options.test).map(({ problem }) => problem),
    );
  }
  const isTest = ({ place }: { place: number }): boolean => hashIntegers(0x48, place) / 2 ** 32 < testShare;
  const side = (test: boolean): Problem[] =>
    problems.filter((one) => isTest(one) === test).map(({ problem }) => problem);
  return taskOfProblems('humaneval', side(false), side(true));
}
