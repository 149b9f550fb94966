import { TrainMoeError } from '../errors.js';
import { endIds } from '../generate/index.js';
import { disposeModel, trainedParameters } from '../models/codec.js';
import { modelFingerprint } from '../models/fingerprint.js';
import { type LoadedModel, loadDecoder } from '../models/folder.js';
import { addon } from '../native.js';
import { countParameters } from '../nn/param.js';
import { AdamW } from '../optim/adamw.js';
import { chooseDevice, type Device } from '../tensor/index.js';
import { loadTokenizer, type Tokenizer } from '../tokenizer/index.js';
import { exactMasters } from '../train/exact.js';
import { advising } from '../train/fit.js';
import { openRecorder, type Recorder } from '../train/recorder.js';
import { findLatest } from '../train/run/checkpoint.js';
import { lockRun } from '../train/run/lock.js';
import { due } from '../train/run/loop.js';
import { modelFolder } from '../train/run/model_folder.js';
import { type Beginning, settingsToKeep } from '../train/run/policy.js';
import { checkpointToGoOn, type GoingOn } from '../train/run/resume.js';
import { shownSamples, writeCompletions } from './completions.js';
import { type GrpoConfig, grpoSchema } from './config.js';
import { evaluateTask, type TaskScore } from './evaluate.js';
import type { GrpoEnd, GrpoEvent, GrpoFacts, GrpoRecord } from './events.js';
import { grpoChoices } from './fit.js';
import { type GrpoParts, grpoStep, type StepOutcome } from './grpo.js';
import { fallSentence, hasFallen, watched } from './guard.js';
import { scoreMetrics, stepMetrics } from './metrics.js';
import { namedByContent } from './preference/reward.js';
import { Reference } from './reference.js';
import { policyEngine } from './rollout.js';
import type { Grader, QuestionSource } from './sample.js';
import { bestFolder, GRPO, type GrpoPlace, restoreGrpo, saveBest, saveGrpo } from './state.js';

/** How a program watches and stops a run. */
export interface GrpoHooks {
  /** Told everything that happens. */
  readonly onEvent?: (event: GrpoEvent) => void;
  /** Asked after every step; true saves and ends the run. `() => signal.aborted` heeds an AbortSignal. */
  readonly shouldStop?: () => boolean;
}

/** What is asked and how it is judged; `close` ends the graders. */
export interface Judged {
  readonly source: QuestionSource;
  readonly grader: Grader;
  close?(): void;
}

/**
 * Trains a model by GRPO as the settings say. Run again on the same folder, it goes on where it stopped, bit for bit
 * (`train/run/policy.ts` says which settings may be others by then).
 * @throws TrainMoeError `busy` when another process trains in the folder, `bad-config` when it was begun with other settings,
 *   `not-finite` when a loss or gradient is not a number (the last checkpoint stands), and whatever reading model, task and
 *   rewards may bring.
 */
export async function grpo(
  config: GrpoConfig,
  open: (config: GrpoConfig, tokenizer: Tokenizer) => Promise<Judged>,
  hooks: GrpoHooks = {},
): Promise<GrpoEnd> {
  const tell = hooks.onEvent ?? (() => {});
  if (config.threads) addon.setThreads(config.threads);
  const { device, reason } = chooseDevice(config.device);
  const from = modelFolder(config.model);
  const lock = lockRun(config.out);
  try {
    const settings = decidedBy(config);
    const note = (sentence: string) => tell({ kind: 'note', sentence });
    const checkpoint = checkpointToGoOn(config.out, GRPO, settings, grpoSchema, note);
    const tokenizer = loadTokenizer(config.tokenizer ?? from);
    const judged = await open(config, tokenizer);
    try {
      const beginning = {
        settings: settingsToKeep(GRPO.name, settings),
        content: { model: modelFingerprint(from), tokenizer: tokenizer.fingerprint },
      };
      const session = openSession(config, device, tokenizer, judged, { checkpoint, beginning, tell });
      try {
        tell({ kind: 'start', run: factsOf(session, reason) });
        const { model } = session.parts;
        return await advising(
          device,
          () => grpoChoices(model, config, device),
          () => run(session, tell, hooks.shouldStop ?? (() => false)),
        );
      } finally {
        closeParts(session.parts);
      }
    } finally {
      judged.close?.();
    }
  } finally {
    lock.release();
  }
}

/** The settings, with reward models named by what they are rather than by where they lie. */
const decidedBy = (config: GrpoConfig): GrpoConfig => ({ ...config, reward: config.reward.map(namedByContent) });

interface Session {
  readonly parts: GrpoParts & { readonly model: LoadedModel; readonly beginning: Beginning };
  readonly start: GrpoPlace;
}

/** Loads the model, or the newest checkpoint of the run where there is one. */
function openSession(
  config: GrpoConfig,
  device: Device,
  tokenizer: Tokenizer,
  { source, grader }: Judged,
  {
    checkpoint,
    beginning,
    tell,
  }: {
    readonly checkpoint: GoingOn | undefined;
    readonly beginning: Beginning;
    readonly tell: (event: GrpoEvent) => void;
  },
): Session {
  const model = loadDecoder(modelFolder(config.model), { device, dtype: config.dtype, train: true });
  const adamw = { beta1: 0.9, beta2: 0.95, eps: 1e-8, decay: config.decay, moments: 'f32' } as const;
  const choices = () => grpoChoices(model, config, device);
  const held = advising(device, choices, () => ({
    optimizer: new AdamW(trainedParameters(model), adamw, device),
    reference: config.kl > 0 ? new Reference(model, device) : undefined,
    engine: policyEngine(model, device, config),
  }));
  const parts = {
    ...held,
    model,
    tokenizer,
    stopIds: endIds(tokenizer),
    source,
    grader,
    device,
    config,
    beginning,
  };
  if (!checkpoint) {
    exactMasters(model, held.optimizer);
    return { parts, start: { step: 0, nextQuestion: 0 } };
  }
  try {
    const start = restoreGrpo(parts, checkpoint.path);
    grader.restore?.(start.grader);
    tell({ kind: 'note', sentence: checkpoint.sentence });
    return { parts, start };
  } catch (error) {
    closeParts(parts);
    throw error;
  }
}

function closeParts({ engine, optimizer, reference, model }: GrpoParts): void {
  engine.dispose();
  optimizer.dispose();
  reference?.dispose();
  disposeModel(model);
}

/** Steps until the end, a stop, a fall or an error; with evaluations and checkpoints on the way. */
async function run({ parts, start }: Session, tell: (event: GrpoEvent) => void, shouldStop: () => boolean) {
  const { config, grader } = parts;
  const began = performance.now();
  const recorder = openRecorder(config.out, start.step, config.tensorboard);
  const rewards: [number, number][] = [];
  let { step, nextQuestion, guard } = start;
  let saved: string | undefined;
  let stopped = false;
  const place = (): GrpoPlace => ({ step, nextQuestion, guard, grader: grader.state?.() });
  const evaluate = async () => {
    const score = await evaluateNow(parts, step, recorder, tell);
    if (score && config.stopOnDrop !== undefined) {
      guard = watched(guard, step, score.accuracy);
      if (guard.bestStep === step) saveBest(parts, place(), parts.model.hubConfig);
    }
    return score;
  };
  try {
    const before = step === 0 ? await evaluate() : undefined;
    let after: TaskScore | undefined;
    while (step < config.steps && !stopped && !hasFallen(guard, config.stopOnDrop)) {
      const outcome = await heard(parts, step, nextQuestion, tell);
      step++;
      nextQuestion = outcome.nextQuestion;
      if (due(config.resetReference, step)) parts.reference?.reset();
      const record = recordOf(parts, outcome, step, recorder);
      rewards.push([step, record.metrics['reward/mean']!]);
      tell({ kind: 'step', record });
      stopped = shouldStop();
      const last = step === config.steps;
      if (last || due(config.evaluateEvery, step)) after = await evaluate();
      if (last || stopped || due(config.saveEvery, step) || hasFallen(guard, config.stopOnDrop)) {
        recorder.sync();
        saved = saveGrpo(parts, place(), parts.model.hubConfig).path;
        tell({ kind: 'saved', at: step, path: saved });
      }
    }
    const end: GrpoEnd = {
      step,
      stopped: stopped && step < config.steps,
      checkpoint: saved ?? findLatest(config.out).checkpoint?.path,
      seconds: (performance.now() - began) / 1000,
      rewards,
      before,
      after,
      fallen: hasFallen(guard, config.stopOnDrop)
        ? fallSentence(guard, config.stopOnDrop!, bestFolder(config.out))
        : undefined,
    };
    tell({ kind: 'end', end });
    return end;
  } finally {
    recorder.close();
  }
}

/** Writes what a step gave to the metrics and to the completions. */
function recordOf({ config, grader }: GrpoParts, outcome: StepOutcome, step: number, recorder: Recorder): GrpoRecord {
  const metrics = stepMetrics(outcome, grader.rewards);
  writeCompletions(config.out, step, outcome.groups, grader.rewards, config.completions);
  recorder.write(step, metrics);
  return { step, steps: config.steps, metrics, shown: shownSamples(outcome.groups) };
}

/** Milliseconds between signs of life while nothing new happens. */
const HEARTBEAT = 5000;

/** Tells phases on, and the last one again and again while it lasts; end() stops that. */
function heartbeat(step: number, tell: (event: GrpoEvent) => void) {
  type PhaseEvent = Extract<GrpoEvent, { readonly kind: 'phase' }>;
  let last: PhaseEvent | undefined;
  let since = performance.now();
  const again = () => last && tell({ ...last, seconds: (performance.now() - since) / 1000 });
  const timer = setInterval(again, HEARTBEAT);
  return {
    phase(phase: PhaseEvent['phase'], done: number) {
      last = { kind: 'phase', step, phase, done };
      since = performance.now();
      tell(last);
    },
    end: () => clearInterval(timer),
  };
}

/** One step with its signs of life; an error says which step it was. */
async function heard(parts: GrpoParts, step: number, nextQuestion: number, tell: (event: GrpoEvent) => void) {
  const beat = heartbeat(step, tell);
  try {
    return await grpoStep(parts, step, nextQuestion, beat.phase);
  } catch (error) {
    if (!(error instanceof TrainMoeError) || error.code !== 'not-finite') throw error;
    throw new TrainMoeError(
      'not-finite',
      `Step ${step + 1}: ${error.message} To go on from the last checkpoint with a lower --lr or --max-norm, give it as --model, and another --out.`,
      { cause: error },
    );
  } finally {
    beat.end();
  }
}

async function evaluateNow(parts: GrpoParts, step: number, recorder: Recorder, tell: (event: GrpoEvent) => void) {
  const { evaluateQuestions, evaluateSamples } = parts.config;
  const beat = heartbeat(step, tell);
  const onProgress = (done: number) => beat.phase('evaluate', done);
  const score = await evaluateTask(parts, evaluateQuestions, evaluateSamples, onProgress).finally(beat.end);
  if (!score) return undefined;
  recorder.write(step, scoreMetrics(score));
  tell({ kind: 'evaluation', at: step, score });
  return score;
}

function factsOf({ parts, start }: Session, deviceReason: string | undefined): GrpoFacts {
  const { config, device, model, source, grader } = parts;
  return {
    out: config.out,
    device: device.name,
    deviceReason,
    threads: addon.hostInfo().threads,
    dtype: model.dtype,
    parameters: countParameters(model.family.specs(model.config)),
    task: source.name,
    rewards: grader.rewards.map(({ name, weight }) => (weight === 1 ? name : `${weight} * ${name}`)),
    firstStep: start.step,
    steps: config.steps,
  };
}
