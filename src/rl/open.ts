import type { Tokenizer } from '../tokenizer/index.js';
import type { GrpoConfig } from './config.js';
import { openJudges } from './judges.js';
import { type Sample as Judgeable, openGraders, type RewardSpec } from './rewards/index.js';
import type { Judged } from './run.js';
import type { Question, QuestionSource, Sample } from './sample.js';
import { createTask, type Problem } from './tasks/index.js';

type TaskSettings = Pick<GrpoConfig, 'task' | 'taskOptions' | 'reward' | 'seed'>;

/** The task that the settings name, and the rewards: theirs or, without any, those of the task's first problem. */
export async function openTask(
  config: TaskSettings,
  tokenizer: Tokenizer,
): Promise<{ readonly source: QuestionSource; readonly specs: readonly RewardSpec[] }> {
  const table = config.task.endsWith('.jsonl');
  const task = await createTask(
    table ? 'jsonl' : config.task,
    table ? { ...config.taskOptions, train: config.task } : config.taskOptions,
  );
  const rewards = config.reward.length > 0 ? config.reward : task.train(0, config.seed).rewards;
  const ask = (index: number, { prompt, answer, meta }: Problem): Question => {
    return { index, prompt, answer, meta: { asked: prompt, ...meta }, ids: [...tokenizer.encode(prompt)] };
  };
  return {
    source: {
      name: task.name,
      train: (index) => ask(index, task.train(index, config.seed)),
      test: (index) => (index < task.testSize ? ask(index, task.test(index)) : undefined),
    },
    specs: rewards.map((reward) => (typeof reward === 'string' ? { name: reward } : reward)),
  };
}

/**
 * The task and the rewards that the settings name, with graders running; close() ends them.
 * @throws TrainMoeError for a task, a reward or options that do not exist or fit, or a sandbox that is missing
 */
export async function openJudged(config: GrpoConfig, tokenizer: Tokenizer, open = openGraders): Promise<Judged> {
  const { source, specs } = await openTask(config, tokenizer);
  const judges = await openJudges(specs, config, open);
  return {
    source,
    grader: {
      ...judges,
      rewards: judges.names.map((name, i) => ({ name, weight: config.rewardWeights[i] ?? 1 })),
      grade: (samples, options) => judges.grade(samples.map(judgeable), options),
    },
    close: judges.close,
  };
}

/** A completion as graders are given it. */
export function judgeable({ question, text, ids }: Sample): Judgeable {
  const { prompt, answer, meta } = question;
  return { prompt, completion: text, ...(answer !== undefined && { answer }), meta: { ...meta, tokens: ids.length } };
}
