import { passAtK } from './advantage.js';
import type { GrpoParts } from './grpo.js';
import { isRight, judge } from './judge.js';
import { longestPrompt, rollout } from './rollout.js';
import type { Group, Question, QuestionSource } from './sample.js';

/** How a model does on questions it is not trained on. Shares are of the completions that could be graded. */
export interface TaskScore {
  readonly questions: number;
  /** Per question. */
  readonly samples: number;
  /** Share of completions that the first reward calls right. */
  readonly accuracy: number;
  /** The chance that one of k completions is right, for k = 1, 2, 4, .. up to `samples`. */
  readonly passAt: readonly (readonly [k: number, share: number])[];
  /** Mean of all rewards together. */
  readonly reward: number;
  /** Mean tokens. */
  readonly length: number;
  /** Share of completions that were cut at maxTokens. */
  readonly truncated: number;
}

/** Always the same draw, so that evaluations differ by the weights alone. */
const SEED = 20_250_122;

/**
 * Answers `questions` test questions `samples` times each: greedily when once, else at the run's temperature. Undefined when
 * the task has no test questions.
 */
export async function evaluateTask(
  parts: Pick<GrpoParts, 'engine' | 'tokenizer' | 'stopIds' | 'source' | 'grader' | 'config' | 'model'>,
  questions: number,
  samples: number,
  onProgress?: (tokens: number) => void,
): Promise<TaskScore | undefined> {
  const { engine, tokenizer, stopIds, grader, config } = parts;
  const asked = testQuestions(parts.source, questions, longestPrompt(config, parts.model));
  if (asked.length === 0) return undefined;
  const temperature = samples === 1 ? 0 : config.temperature;
  const options = { group: samples, maxTokens: config.maxTokens, temperature, stopIds, seed: SEED, onProgress };
  const groups = await judge(await rollout(engine, tokenizer, asked, options), grader, {
    ...config,
    overlong: 'keep',
    observe: false,
  });
  return scoreOf(groups, samples);
}

function testQuestions(source: QuestionSource, wanted: number, maxPrompt: number): Question[] {
  const found: Question[] = [];
  for (let index = 0; found.length < wanted; index++) {
    const question = source.test(index);
    if (!question) break;
    if (question.ids.length <= maxPrompt) found.push(question);
  }
  return found;
}

function scoreOf(groups: readonly Group[], samples: number): TaskScore {
  const counts = groups.map((group) => {
    const verdicts = group.samples.map(isRight).filter((right) => right !== undefined);
    return { n: verdicts.length, c: verdicts.filter(Boolean).length };
  });
  const all = groups.flatMap((group) => group.samples);
  const rewarded = all.filter(({ reward }) => reward !== undefined);
  const passAt: [number, number][] = [];
  for (let k = 1; k <= samples; k *= 2) {
    const enough = counts.filter(({ n }) => n >= k);
    passAt.push([k, mean(enough.map(({ n, c }) => passAtK(n, c, k)))]);
  }
  return {
    questions: groups.length,
    samples,
    accuracy: mean(counts.flatMap(({ n, c }) => Array.from({ length: n }, (_, i) => (i < c ? 1 : 0)))),
    passAt,
    reward: mean(rewarded.map(({ reward }) => reward!)),
    length: mean(all.map(({ ids }) => ids.length)),
    truncated: mean(all.map(({ finish }) => (finish === 'length' ? 1 : 0))),
  };
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / Math.max(values.length, 1);
