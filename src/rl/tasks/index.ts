/**
 * Tasks: problems with the rewards that grade them, deterministic in (seed, index), with train and test disjoint.
 *
 *     const task = await createTask('countdown', { count: 4 });
 *     const { prompt, rewards } = task.train(0, 42);
 */
export { type ArithOptions, arith } from './arith.js';
export { type CountdownOptions, countdown } from './countdown.js';
export { type CodeTaskOptions, humaneval } from './humaneval.js';
export { gsm8k, type JsonlOptions, jsonl } from './jsonl.js';
export { createTask, taskNames } from './registry.js';
export { taskOfProblems } from './rows_task.js';
export { zeroPrompt } from './template.js';
export type { Problem, Task } from './types.js';
