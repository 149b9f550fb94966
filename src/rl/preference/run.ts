import type { Settings } from '../../config/layers.js';
import { permutation } from '../../data/index.js';
import { refuseMissing } from '../../data/records.js';
import { TrainMoeError } from '../../errors.js';
import { disposeModel, trainedParameters } from '../../models/codec.js';
import { contextOf } from '../../models/family.js';
import { modelFingerprint } from '../../models/fingerprint.js';
import type { LoadedModel } from '../../models/folder.js';
import { addon } from '../../native.js';
import { countParameters } from '../../nn/param.js';
import { AdamW } from '../../optim/adamw.js';
import { chooseDevice, type Device } from '../../tensor/index.js';
import { type ChatTemplate, loadTokenizer, openChatTemplate } from '../../tokenizer/index.js';
import { exactMasters } from '../../train/exact.js';
import { advising } from '../../train/fit.js';
import { openRecorder, type Recorder } from '../../train/recorder.js';
import { findLatest } from '../../train/run/checkpoint.js';
import { lockRun } from '../../train/run/lock.js';
import { breathe, due } from '../../train/run/loop.js';
import { modelFolder } from '../../train/run/model_folder.js';
import { type Beginning, settingsToKeep } from '../../train/run/policy.js';
import { checkpointToGoOn, type GoingOn } from '../../train/run/resume.js';
import type { Place } from '../../train/run/state.js';
import { restoreTrained, saveTrained, type Trained } from '../saved.js';
import { dpoSchema, type PreferenceConfig, rewardModelSchema } from './config.js';
import { fingerprintOf } from './encode.js';
import type { PreferenceEnd, PreferenceEvent, PreferenceFacts } from './events.js';
import type { PreferenceScore } from './figures.js';
import { longestOf, preferenceChoices } from './fit.js';
import type { Progress, Subject } from './lesson.js';
import { examplesOf, type Learner, preferenceStep } from './step.js';

/** How a program watches and stops a run. */
export interface PreferenceHooks {
  /** Told everything that happens. */
  readonly onEvent?: (event: PreferenceEvent) => void;
  /** Asked after every step; true saves and ends the run. `() => signal.aborted` heeds an AbortSignal. */
  readonly shouldStop?: () => boolean;
}

type Tell = (event: PreferenceEvent) => void;

/** A run in progress: the lesson, and everything around it. */
interface Session<E> extends Learner<E> {
  readonly model: LoadedModel;
  readonly template: ChatTemplate;
  readonly device: Device;
  readonly beginning: Beginning;
}

/** Where a run is: a run that goes on further than it was to goes on behind its last example, though its last batch was small. */
interface PreferencePlace extends Place {
  readonly seen: number; // examples
}

/**
 * Trains on preferences as the settings say. Run again on the same folder, it goes on where it stopped, bit for bit
 * (`train/run/policy.ts` says which settings may be others by then).
 * @throws TrainMoeError `busy` when another process trains in the folder, `bad-config` when it was begun with other settings,
 *   `bad-data` for a bad record (with file and line) or data that changed since the run began, `not-finite` when a loss or gradient is not a number (the last checkpoint stands)
 */
export async function learnPreferences<E, C extends PreferenceConfig>(
  subject: Subject<E, C>,
  config: C,
  { onEvent: tell = () => {}, shouldStop = () => false }: PreferenceHooks = {},
): Promise<PreferenceEnd> {
  if (config.threads) addon.setThreads(config.threads);
  const { device, reason } = chooseDevice(config.device);
  const from = modelFolder(config.model);
  refuseMissing(config.data);
  const lock = lockRun(config.out);
  try {
    const schema = subject.name === 'dpo' ? dpoSchema : rewardModelSchema;
    const note = (sentence: string) => tell({ kind: 'note', sentence });
    const checkpoint = checkpointToGoOn(config.out, subject, config, schema, note);
    const tokenizer = loadTokenizer(config.tokenizer ?? from);
    const template = await openChatTemplate(tokenizer, { template: config.chatTemplate });
    const model = subject.load(from, { device, dtype: config.dtype, train: true });
    const begun = { settings: settingsToKeep(subject.name, config), model: modelFingerprint(from) };
    try {
      const readable = { ...config, maxLength: Math.min(config.maxLength, contextOf(model)) };
      const about = { model, device, reason, template, tell, shouldStop, checkpoint, begun };
      return await learnWith(subject, readable, about);
    } finally {
      disposeModel(model);
    }
  } finally {
    lock.release();
  }
}

/** Reads the examples for a model that is loaded, and trains it on them. */
async function learnWith<E, C extends PreferenceConfig>(
  subject: Subject<E, C>,
  config: C,
  about: Pick<Session<E>, 'model' | 'device' | 'template'> & {
    readonly reason: string | undefined;
    readonly tell: Tell;
    readonly shouldStop: () => boolean;
    readonly checkpoint: GoingOn | undefined;
    readonly begun: { readonly settings: Settings; readonly model: string };
  },
): Promise<PreferenceEnd> {
  const { model, device, template, reason, tell, shouldStop, checkpoint, begun } = about;
  const examples = await subject.read(config, template);
  if (examples.train.length === 0)
    throw new TrainMoeError('bad-data', `All ${subject.unit} are longer than maxLength = ${config.maxLength} tokens.`);
  const lesson = subject.begin({ model, examples, device, config });
  const data = fingerprintOf([...examples.train, ...examples.test].flatMap((e) => subject.textsOf(e)));
  const beginning = { settings: begun.settings, content: { model: begun.model, 'data set': data } };
  const choices = () => preferenceChoices(model, config, longestOf(subject, examples));
  const optimizer = advising(device, choices, () => optimizerFor(model, config, device));
  const session = { subject, config, model, optimizer, template, device, examples, lesson, beginning };
  try {
    return await advising(device, choices, async () => {
      const start = await begin(session, checkpoint, tell);
      const steps = start.step + Math.ceil(Math.max(0, examplesOf(session) - start.seen) / config.batch);
      const learner = { ...session, steps };
      tell({ kind: 'start', run: factsOf(learner, start.step, reason) });
      return run(learner, start, tell, shouldStop);
    });
  } finally {
    lesson.dispose?.();
    optimizer.dispose();
  }
}

function optimizerFor(model: LoadedModel, { decay }: PreferenceConfig, device: Device): AdamW {
  return new AdamW(trainedParameters(model), { beta1: 0.9, beta2: 0.95, eps: 1e-8, decay, moments: 'f32' }, device);
}

type Unplanned<E> = Omit<Session<E>, 'steps'>;

/** The place to start from: that of the checkpoint, or the first with the lesson prepared. */
async function begin<E>(session: Unplanned<E>, checkpoint: GoingOn | undefined, tell: Tell): Promise<PreferencePlace> {
  if (checkpoint) {
    const { step, seen } = restoreTrained<PreferencePlace>(trainedOf(session), checkpoint.path);
    tell({ kind: 'note', sentence: checkpoint.sentence });
    return { step, seen };
  }
  exactMasters(session.model, session.optimizer);
  await session.lesson.prepare?.(progressOf('reference', tell));
  return { step: 0, seen: 0 };
}

const trainedOf = <E>({ subject, config, beginning, model, optimizer, template, lesson }: Unplanned<E>): Trained => ({
  name: subject.name,
  title: subject.title,
  out: config.out,
  beginning,
  model,
  optimizer,
  tokenizer: template.tokenizer,
  chatTemplate: template.source,
  base: model.hubConfig,
  tensors: lesson.tensors ?? [],
});

/** Steps until the end, a stop or an error; with evaluations and checkpoints on the way. */
async function run<E>(
  session: Session<E>,
  start: PreferencePlace,
  tell: Tell,
  shouldStop: () => boolean,
): Promise<PreferenceEnd> {
  const { config, steps } = session;
  const began = performance.now();
  const recorder = openRecorder(config.out, start.step, config.tensorboard);
  const losses: [number, number][] = [];
  let { step, seen } = start;
  let saved: string | undefined;
  let stopped = false;
  try {
    const before = step === 0 ? await evaluateNow(session, step, recorder, tell) : undefined;
    let after: PreferenceScore | undefined;
    while (step < steps && !stopped) {
      const { metrics, examples } = preferenceStep(session, step, seen);
      step++;
      seen += examples;
      recorder.write(step, metrics);
      losses.push([step, metrics['train/loss']!]);
      tell({ kind: 'step', record: { step, steps, metrics } });
      await breathe();
      stopped = shouldStop();
      const last = step === steps;
      if (last || due(config.evaluateEvery, step)) after = await evaluateNow(session, step, recorder, tell);
      if (last || stopped || due(config.saveEvery, step)) {
        recorder.sync();
        saved = saveTrained(trainedOf(session), config.keep, { step, seen } as PreferencePlace).path;
        tell({ kind: 'saved', at: step, path: saved });
      }
    }
    const checkpoint = saved ?? findLatest(config.out).checkpoint?.path;
    const seconds = (performance.now() - began) / 1000;
    const end = { step, stopped: stopped && step < steps, checkpoint, seconds, losses, before, after };
    tell({ kind: 'end', end });
    return end;
  } finally {
    recorder.close();
  }
}

const progressOf = (phase: 'reference' | 'evaluate', tell: Tell): Progress => {
  return (done, total) => {
    tell({ kind: 'phase', phase, done, total });
    return breathe();
  };
};

async function evaluateNow<E>(
  { config, examples, lesson }: Session<E>,
  step: number,
  recorder: Recorder,
  tell: Tell,
): Promise<PreferenceScore | undefined> {
  const { test } = examples;
  const count = Math.min(test.length, config.evaluatePairs);
  if (count === 0) return undefined;
  const draw = permutation(test.length, 0, 0); // always the same, so that evaluations differ by the weights alone
  const chosen = Array.from({ length: count }, (_, i) => test[draw(i)]!);
  const score = await lesson.evaluate(chosen, progressOf('evaluate', tell));
  const { accuracy, margin, loss, interval } = score;
  recorder.write(step, {
    'test/accuracy': accuracy,
    'test/accuracy_low': interval[0],
    'test/accuracy_high': interval[1],
    'test/margin': margin,
    'test/loss': loss,
  });
  tell({ kind: 'evaluation', at: step, score });
  return score;
}

function factsOf<E>(s: Session<E>, firstStep: number, deviceReason: string | undefined): PreferenceFacts {
  const { config, device, model, subject, examples, template, steps } = s;
  const { train, test, ties, same, tooLong } = examples;
  return {
    out: config.out,
    device: device.name,
    deviceReason,
    threads: addon.hostInfo().threads,
    dtype: model.dtype,
    parameters: countParameters(model.family.specs(model.config)),
    title: subject.title,
    unit: subject.unit,
    train: train.length,
    test: test.length,
    ties,
    same,
    tooLong,
    template: template.origin,
    firstStep,
    steps,
  };
}
