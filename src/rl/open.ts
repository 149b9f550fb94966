import { openChatTemplate, renderPrompt, type Tokenizer } from '../tokenizer/index.js';
import type { GrpoConfig } from './config.js';
import { distinct, openJudges } from './judges.js';
import { judgeHere, type RewardFunction } from './own.js';
import { type Sample as Judgeable, openGraders, type RewardSpec } from './rewards/index.js';
import type { Judged } from './run.js';
import type { Question, QuestionSource, Sample } from './sample.js';
import { createTask, type Problem, type Task, zeroPrompt } from './tasks/index.js';

type TaskSettings = Pick<GrpoConfig, 'task' | 'taskOptions' | 'reward' | 'seed'> &
  Partial<Pick<GrpoConfig, 'template'>>;

/** What a program brings itself. */
export interface Own {
  /** In place of the task that the settings name. */
  readonly task?: Task;
  /** Rewards by the names they have in the metrics; they come after those of the settings and weigh 1 each. */
  readonly rewards?: Readonly<Record<string, RewardFunction>>;
}

/** The task that the settings name, and the rewards: theirs or, without any, those of the task's first problem. */
export async function openTask(
  config: TaskSettings,
  tokenizer: Tokenizer,
  own: Own = {},
): Promise<{ readonly source: QuestionSource; readonly specs: readonly RewardSpec[] }> {
  const task = own.task ?? (await createTask(config.task, config.taskOptions));
  const named = config.reward.length > 0 || own.rewards;
  const rewards = named ? config.reward : task.train(0, config.seed).rewards;
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
 * The task and the rewards that the settings name or a program brings, with graders running; close() ends them.
 * @throws TrainMoeError for a task, a reward or options that do not exist or fit, or a sandbox that is missing
 */
export async function openJudged(
  config: GrpoConfig,
  tokenizer: Tokenizer,
  own: Own = {},
  open = openGraders,
): Promise<Judged> {
  const { source, specs } = await openTask(config, tokenizer, own);
  const judges = await openJudges(specs, config, open);
  const ours = Object.entries(own.rewards ?? {});
  return {
    source,
    grader: {
      ...judges,
      rewards: distinct([...judges.names, ...ours.map(([name]) => name)]).map((name, i) => {
        return { name, weight: config.rewardWeights[i] ?? 1 };
      }),
      async grade(samples, options) {
        const asked = samples.map(judgeable);
        const ruled = await judges.grade(asked, options);
        const judged = await judgeHere(
          ours.map(([, reward]) => reward),
          asked,
        );
        return ruled.map((results, i) => [...results, ...judged[i]!]);
      },
    },
    close: judges.close,
  };
}

/** A completion as graders are given it. */
export function judgeable({ question, text, ids }: Sample): Judgeable {
  const { prompt, answer, meta } = question;
  return { prompt, completion: text, ...(answer !== undefined && { answer }), meta: { ...meta, tokens: ids.length } };
}
