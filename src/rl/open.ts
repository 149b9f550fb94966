import { openChatTemplate, renderPrompt, type Tokenizer } from '../tokenizer/index.js';
import type { GrpoConfig } from './config.js';
import { openJudges } from './judges.js';
import { type Sample as Judgeable, openGraders, type RewardSpec } from './rewards/index.js';
import type { Judged } from './run.js';
import type { Question, QuestionSource, Sample } from './sample.js';
import { createTask, type Problem, zeroPrompt } from './tasks/index.js';

type TaskSettings = Pick<GrpoConfig, 'task' | 'taskOptions' | 'reward' | 'seed'> &
  Partial<Pick<GrpoConfig, 'template'>>;

/** The task that the settings name, and the rewards: theirs or, without any, those of the task's first problem. */
export async function openTask(
  config: TaskSettings,
  tokenizer: Tokenizer,
): Promise<{ readonly source: QuestionSource; readonly specs: readonly RewardSpec[] }> {
  const task = await createTask(config.task, config.taskOptions);
  const rewards = config.reward.length > 0 ? config.reward : task.train(0, config.seed).rewards;
  const put = await promptsOf(config.template, tokenizer);
  const ask = (index: number, { prompt: asked, answer, meta }: Problem): Question => {
    return { index, ...put(asked), answer, meta: { asked, ...meta } };
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

type Put = (question: string) => Pick<Question, 'prompt' | 'ids'>;

/** How questions are put to a model. */
async function promptsOf(template: GrpoConfig['template'] = 'none', tokenizer: Tokenizer): Promise<Put> {
  if (template === 'chat') {
    const chat = await openChatTemplate(tokenizer);
    return (asked) => {
      const ids = [...renderPrompt(chat, { messages: [{ role: 'user', content: asked }] })];
      return { prompt: tokenizer.decode(ids), ids };
    };
  }
  const written = template === 'zero' ? zeroPrompt : (asked: string) => asked;
  return (asked) => ({ prompt: written(asked), ids: [...tokenizer.encode(written(asked))] });
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
