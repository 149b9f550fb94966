import { TrainMoeError } from '../errors.js';
import type { Engine } from '../generate/index.js';
import type { Tokenizer } from '../tokenizer/index.js';
import type { GrpoConfig } from './config.js';
import { judge } from './judge.js';
import type { Reference } from './reference.js';
import { longestPrompt, mixed, rollout } from './rollout.js';
import type { Graded, Grader, Group, Question, QuestionSource } from './sample.js';
import { score } from './score.js';
import {
  difference,
  type Experience,
  joined,
  type Learner,
  type Mismatch,
  scoreOptions,
  type Update,
  update,
} from './update.js';

/*
 * Group relative policy optimization. DeepSeekMath, arXiv:2402.03300; DeepSeek-R1, arXiv:2501.12948.
 *
 * Of each question q, G completions o_1 .. o_G are drawn from the policy pi_old and rewarded with r_1 .. r_G. Then maximise
 *
 *     J = mean over q, i of 1/|o_i| sum_t [ min(rho A_i, clip(rho, 1 - eps, 1 + eps) A_i) - beta (x - ln x - 1) ]
 *
 *     rho = pi(o_it | q, o_i<t) / pi_old(..)      x = pi_ref(..) / pi(..)      A_i = (r_i - mean r) / std r
 *
 * Departures from the papers:
 *   - rho and x are of single tokens, as in DeepSeekMath; R1 prints them for whole completions.
 *   - std is taken with n - 1, plus 1e-6, so that a group of equal rewards has A = 0 rather than 0/0.
 *   - The exponents of rho and x are bounded by 20.
 *   - A completion whose grader failed takes no part, neither in the mean of its group nor in the loss.
 *   - A step is a rollout with its updates. R1 counts updates: its reference reset after 400 is one after 25 rollouts of 16.
 *   - The clip range is 0.2, as in PPO; R1 has 10. The algorithms of config.ts hold what the papers chose.
 */

/** What a step works on and with. Rollouts and training use the same weights; nothing is copied between them. */
export interface GrpoParts extends Learner {
  /** Absent where the KL penalty is off. */
  readonly reference: Reference | undefined;
  readonly engine: Engine;
  readonly tokenizer: Tokenizer | undefined;
  readonly stopIds: readonly number[];
  readonly source: QuestionSource;
  readonly grader: Grader;
}

/** Parts of a step. */
export type Phase = 'rollout' | 'reward' | 'score' | 'train';

/** What came out of a step, for the log. */
export interface StepOutcome {
  readonly groups: readonly Group[];
  /** Groups of equal rewards that dynamic sampling replaced. */
  readonly replaced: number;
  /** The first question that was not drawn yet. */
  readonly nextQuestion: number;
  readonly updates: readonly Update[];
  /** |log pi as trained - log pi as sampled| over the tokens that were trained on, before anything was updated. */
  readonly mismatch: Mismatch;
  readonly seconds: Readonly<Record<Phase, number>>;
  readonly sampledTokens: number;
}

/**
 * One step: draw completions, reward them, note what the old policy and the reference think of them, update.
 * @throws TrainMoeError `not-finite` before an update that would spoil the weights.
 */
export async function grpoStep(
  parts: GrpoParts,
  step: number,
  firstQuestion: number,
  onPhase: (phase: Phase, done: number) => void = () => {},
): Promise<StepOutcome> {
  const { config } = parts;
  const clock = stopwatch();
  const drawn = await collect(parts, step, firstQuestion, clock, onPhase);
  const usable = drawn.groups
    .flatMap(({ samples }) => samples)
    .filter((s) => s.reward !== undefined && !(config.overlong === 'drop' && s.finish === 'length'));
  onPhase('score', usable.length);
  const experience = clock.time('score', () => remember(parts, usable));
  const updates: Update[] = [];
  for (const batch of miniBatches(experience, config, step)) {
    onPhase('train', updates.length);
    updates.push(await clock.timeAsync('train', () => update(parts, batch)));
  }
  const scored = experience.map((e) => e.old && difference(e.old, e.logProbs)).filter((m) => m !== undefined);
  return {
    ...drawn,
    updates,
    mismatch: joined(scored.length > 0 ? scored : updates.map((u) => u.mismatch)),
    seconds: clock.seconds,
  };
}

/** Completions with their rewards. Groups of equal rewards are replaced as often as dynamic sampling allows. */
async function collect(
  { model, engine, tokenizer, stopIds, source, grader, config: c }: GrpoParts,
  step: number,
  firstQuestion: number,
  clock: Stopwatch,
  onPhase: (phase: Phase, done: number) => void,
): Promise<Pick<StepOutcome, 'groups' | 'replaced' | 'nextQuestion' | 'sampledTokens'>> {
  const kept: Group[] = [];
  const flat: Group[] = [];
  let next = firstQuestion;
  let sampledTokens = 0;
  for (let round = 0; kept.length < c.prompts && round <= c.dynamicSampling; round++) {
    const drawn = nextQuestions(source, next, c.prompts - kept.length, longestPrompt(c, model));
    next = drawn.next;
    const before = sampledTokens;
    const onProgress = (tokens: number) => onPhase('rollout', before + tokens);
    const options = { ...c, stopIds, seed: mixed(c.seed, step), onProgress };
    const sampled = await clock.timeAsync('rollout', () => rollout(engine, tokenizer, drawn.questions, options));
    sampledTokens += sampled.flat().reduce((n, s) => n + s.ids.length, 0);
    onPhase('reward', 0);
    for (const group of await clock.timeAsync('reward', () => judge(sampled, grader, { ...c, observe: true })))
      (group.flat && c.dynamicSampling > 0 ? flat : kept).push(group);
  }
  const missing = c.prompts - kept.length;
  return {
    groups: [...kept, ...flat.slice(0, missing)],
    replaced: Math.max(flat.length - missing, 0),
    nextQuestion: next,
    sampledTokens,
  };
}

/** Questions passed over in a row before the task is thought to hold no other. */
const MOST_TOO_LONG = 1000;

function nextQuestions(source: QuestionSource, first: number, wanted: number, maxPrompt: number) {
  const questions: Question[] = [];
  let next = first;
  for (let tooLong = 0; questions.length < wanted; next++) {
    const question = source.train(next);
    if (question.ids.length <= maxPrompt) questions.push(question);
    else if (++tooLong === MOST_TOO_LONG)
      throw new TrainMoeError(
        'bad-data',
        `${MOST_TOO_LONG} questions of ${source.name} have more than ${maxPrompt} tokens; raise maxPrompt, or take a model that reads more.`,
      );
  }
  return { questions, next };
}

/**
 * Log-probabilities under the old policy, where there will be more than one update (the first one computes them itself),
 * and under the reference.
 */
function remember(parts: GrpoParts, samples: readonly Graded[]): Experience[] {
  const { config, model, reference } = parts;
  const options = scoreOptions(parts);
  const several = config.updates * config.epochs > 1;
  const old = several ? score(model, samples, options, config.replayRouting) : undefined;
  const held = reference ? score(reference.model, samples, options) : undefined;
  return samples.map((sample, i) => ({
    ...sample,
    old: old?.logProbs[i],
    reference: held?.logProbs[i],
    routes: config.replayRouting ? old?.routes[i] : undefined,
  }));
}

/** Every epoch deals the samples anew into `updates` mini-batches, of which none is empty. */
function* miniBatches(samples: readonly Experience[], c: GrpoConfig, step: number): Generator<Experience[]> {
  for (let epoch = 0; epoch < c.epochs; epoch++) {
    const order = c.updates > 1 ? shuffled(samples, mixed(mixed(c.seed, step), epoch + 1)) : samples;
    for (let u = 0; u < c.updates; u++) {
      const bound = (part: number) => Math.floor((order.length * part) / c.updates);
      const batch = order.slice(bound(u), bound(u + 1));
      if (batch.length > 0) yield batch;
    }
  }
}

function shuffled<T>(values: readonly T[], seed: number): T[] {
  const out = [...values];
  for (let i = out.length - 1; i > 0; i--) {
    const j = mixed(seed, i) % (i + 1);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}

interface Stopwatch {
  readonly seconds: Record<Phase, number>;
  time<T>(phase: Phase, body: () => T): T;
  timeAsync<T>(phase: Phase, body: () => Promise<T>): Promise<T>;
}

function stopwatch(): Stopwatch {
  const seconds: Record<Phase, number> = { rollout: 0, reward: 0, score: 0, train: 0 };
  const since = (phase: Phase, start: number) => {
    seconds[phase] += (performance.now() - start) / 1000;
  };
  return {
    seconds,
    time(phase, body) {
      const start = performance.now();
      try {
        return body();
      } finally {
        since(phase, start);
      }
    },
    async timeAsync(phase, body) {
      const start = performance.now();
      try {
        return await body();
      } finally {
        since(phase, start);
      }
    },
  };
}
