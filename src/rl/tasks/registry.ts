import { TrainMoeError } from '../../errors.js';
import { importDefault, isPath } from '../rewards/registry.js';
import { arith } from './arith.js';
import { countdown } from './countdown.js';
import { humaneval } from './humaneval.js';
import { gsm8k, jsonl } from './jsonl.js';
import type { Task } from './types.js';

/** The built-in tasks. To add one, write a function from options to a Task and name it here. */
const BUILT_IN = { arith, countdown, gsm8k, jsonl, humaneval } as const;

/** Names of the built-in tasks. */
export const taskNames: readonly string[] = Object.keys(BUILT_IN);

/**
 * A task by name, from a file of JSON Lines, or from a module whose default export is a task or a function from options to one.
 * @throws TrainMoeError for an unknown name, options that do not fit, or a module that is no task
 */
export async function createTask(name: string, options?: unknown): Promise<Task> {
  if (name.endsWith('.jsonl')) return jsonl({ ...(options as object), train: name });
  if (isPath(name)) return await loadTask(name, options);
  if (!Object.hasOwn(BUILT_IN, name)) {
    throw new TrainMoeError(
      'bad-config',
      `There is no task "${name}"; the built-in ones are ${taskNames.join(', ')}, and a path like ./mine.js names your own.`,
    );
  }
  return (BUILT_IN[name as keyof typeof BUILT_IN] as (options?: unknown) => Task)(options);
}

async function loadTask(file: string, options: unknown): Promise<Task> {
  const exported = await importDefault(file, 'task');
  const task = (typeof exported === 'function' ? await exported(options) : exported) as Partial<Task> | null;
  if (typeof task?.train !== 'function' || typeof task.test !== 'function') {
    throw new TrainMoeError(
      'bad-config',
      `${file} exports no task; it needs the functions train(index, seed) and test(index).`,
    );
  }
  const { train, test } = task as Task;
  return {
    name: task.name ?? file,
    testSize: task.testSize ?? Number.POSITIVE_INFINITY,
    train: (index, seed) => train.call(task, index, seed),
    test: (index) => test.call(task, index),
  };
}
