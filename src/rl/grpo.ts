import { TrainMoeError } from '../errors.js';
import type { Engine } from '../generate/index.js';
import type { Model } from '../models/family.js';
import { type PolicyObjective, type PolicyStats, policyLoss } from '../ops/policy_loss.js';
import type { AdamW } from '../optim/adamw.js';
import { type Device, differentiate, scope } from '../tensor/index.js';
import type { Tokenizer } from '../tokenizer/index.js';
import type { GrpoConfig } from './config.js';
import { judge } from './judge.js';
import { cutByRows, type Packed, pack } from './pack.js';
import type { Reference } from './reference.js';
import { mixed, rollout } from './rollout.js';
import type { Graded, Grader, Group, Question, QuestionSource } from './sample.js';
import { forwardPacked, type Routes, replayOf, type ScoreOptions, score } from './score.js';

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
export interface GrpoParts {
  readonly model: Model;
  readonly optimizer: AdamW;
  /** Absent where the KL penalty is off. */
  readonly reference: Reference | undefined;
  readonly engine: Engine;
  readonly tokenizer: Tokenizer | undefined;
  readonly stopIds: readonly number[];
  readonly source: QuestionSource;
  readonly grader: Grader;
  readonly device: Device;
  readonly config: GrpoConfig;
}

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

/** One optimizer step. */
export interface Update {
  readonly loss: number;
  readonly gradNorm: number;
  readonly lr: number;
  readonly entropy: number; // mean over tokens, nats
  readonly stats: PolicyStats;
  readonly mismatch: Mismatch;
}

/** A running comparison of log-probabilities. */
export interface Mismatch {
  readonly mean: number;
  readonly max: number;
  readonly tokens: number;
}

/** Passes the turn, so that signals and timers are heard. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A completion with what was known of it before the first update. */
interface Experience extends Graded {
  readonly old?: Float32Array | undefined;
  readonly reference?: Float32Array | undefined;
  readonly routes?: Routes | undefined;
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
  { engine, tokenizer, stopIds, source, grader, config: c }: GrpoParts,
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
    const drawn = nextQuestions(source, next, c.prompts - kept.length, c.maxPrompt);
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
        `${MOST_TOO_LONG} questions of ${source.name} have more than maxPrompt = ${maxPrompt} tokens; raise it.`,
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

/**
 * One optimizer step on a mini-batch, in as many forward and backward passes as memory asks for. A sample of advantage 0
 * counts in the means, but without a KL penalty its gradient is 0, so it is not computed; one is, for the log's sake.
 */
async function update(parts: GrpoParts, batch: readonly Experience[]): Promise<Update> {
  const { config: c, optimizer } = parts;
  const count = (samples: readonly Experience[]) => samples.reduce((n, s) => n + s.ids.length, 0);
  const total = { samples: batch.length, tokens: count(batch), maxTokens: c.maxTokens };
  const telling = c.kl > 0 ? batch : batch.filter(({ advantage }) => advantage !== 0);
  const computed = telling.length > 0 ? telling : batch.slice(0, 1);
  optimizer.resetGradients();
  const results: ReturnType<typeof backward>[] = [];
  for (const part of cutByRows(computed, c.rowsAtOnce)) {
    results.push(scope(() => backward(parts, pack(part), total)));
    await turn();
  }
  const { norm } = optimizer.clip(c.maxNorm);
  const loss = results.reduce((sum, r) => sum + r.loss, 0);
  if (!Number.isFinite(loss) || !Number.isFinite(norm))
    throw new TrainMoeError(
      'not-finite',
      `The policy loss is ${loss} and the gradient's norm ${norm}; nothing was updated.`,
    );
  const lr = c.lr * Math.min((optimizer.steps + 1) / Math.max(c.warmup, 1), 1);
  optimizer.step(lr);
  return {
    loss,
    gradNorm: norm,
    lr,
    entropy: results.reduce((sum, r) => sum + r.entropy, 0) / count(computed),
    stats: sumStats(results.map((r) => r.stats)),
    mismatch: joined(results.map((r) => r.mismatch)),
  };
}

/** The loss of one packed part of a mini-batch; gradients are added to the parameters'. */
function backward(
  parts: GrpoParts,
  packed: Packed<Experience>,
  total: { readonly samples: number; readonly tokens: number; readonly maxTokens: number },
): Pick<Update, 'loss' | 'entropy' | 'stats' | 'mismatch'> {
  const { samples, starts, rows } = packed;
  const { config, device, model } = parts;
  const together = (of: (e: Experience) => ArrayLike<number> | undefined) =>
    samples.every((s) => of(s)) ? Float64Array.from(samples.flatMap((s) => Array.from(of(s)!))) : undefined;
  const sampled = together((s) => s.logProbs)!;
  const batch = {
    starts,
    advantages: Float64Array.from(samples, (s) => s.advantage),
    old: together((s) => s.old),
    reference: together((s) => s.reference),
    rollout: sampled,
    total,
  };
  const routes = samples.map((s) => s.routes).filter((r) => r !== undefined);
  const replay = routes.length > 0 ? replayOf(routes, packed.ids.length, device) : undefined;
  const { value, entropy } = differentiate(() => {
    const out = forwardPacked(model, packed, scoreOptions(parts), {
      replay,
      recompute: config.recompute,
      entropy: true,
    });
    const value = policyLoss(out.nll, rows, batch, objectiveOf(config));
    return { value, entropy: out.entropy!, losses: [value.root] };
  });
  const spread = entropy.read();
  return {
    loss: value.loss,
    stats: value.stats,
    entropy: rows.reduce((sum, row) => sum + spread[row]!, 0),
    mismatch: difference(value.logProbs, sampled),
  };
}

const scoreOptions = ({ device, config }: GrpoParts): ScoreOptions => ({
  device,
  temperature: config.temperature,
  rowsAtOnce: config.rowsAtOnce,
});

const objectiveOf = (c: GrpoConfig): PolicyObjective => c;

function shuffled<T>(values: readonly T[], seed: number): T[] {
  const out = [...values];
  for (let i = out.length - 1; i > 0; i--) {
    const j = mixed(seed, i) % (i + 1);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}

function difference(a: ArrayLike<number>, b: ArrayLike<number>): Mismatch {
  let sum = 0;
  let max = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i]! - b[i]!);
    sum += d;
    max = Math.max(max, d);
  }
  return { mean: sum / a.length, max, tokens: a.length };
}

function joined(parts: readonly Mismatch[]): Mismatch {
  const tokens = parts.reduce((n, p) => n + p.tokens, 0);
  return {
    mean: parts.reduce((sum, p) => sum + p.mean * p.tokens, 0) / Math.max(tokens, 1),
    max: parts.reduce((max, p) => Math.max(max, p.max), 0),
    tokens,
  };
}

export function sumStats(all: readonly PolicyStats[]): PolicyStats {
  const sum = (key: keyof PolicyStats) => all.reduce((total, stats) => total + stats[key], 0);
  return {
    tokens: sum('tokens'),
    clippedLow: sum('clippedLow'),
    clippedHigh: sum('clippedHigh'),
    dualClipped: sum('dualClipped'),
    capped: sum('capped'),
    masked: sum('masked'),
    kl: sum('kl'),
    moved: sum('moved'),
  };
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
