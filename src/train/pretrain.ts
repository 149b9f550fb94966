import { type RunConfig, runConfigSchema } from '../config/index.js';
import { TrainMoeError } from '../errors.js';
import type { Model } from '../models/family.js';
import { addon } from '../native.js';
import type { Communicator } from '../parallel/index.js';
import { chooseDevice, type Device, memoryOf } from '../tensor/index.js';
import { beginningOf, computeType, decidedBy, firstModel } from './beginning.js';
import { type Corpus, type CorpusEvents, prepareCorpus } from './corpus.js';
import { estimateMemory, flopsPerToken, measurePeak } from './estimate.js';
import { type Evaluation, evaluate } from './evaluate.js';
import type { RunEnd, StepRecord, TrainEvent } from './events.js';
import { advising, type Choices, ofAllRanks, PRETRAIN_FLAGS, type StepSize, stepChoices } from './fit.js';
import { RecentLoads, worstImbalance } from './loads.js';
import { familyOfRun, modelConfigFor } from './model_config.js';
import { refuseSettings } from './objective.js';
import { agreed, isFirst, summed } from './ranks/agree.js';
import { type RanksHooks, refuseUneven, runOnRanks } from './ranks/launch.js';
import { meetAll, type RankPlace } from './ranks/place.js';
import { openRecorder } from './recorder.js';
import { withReplay } from './replay.js';
import { findLatest } from './run/checkpoint.js';
import { lockRun } from './run/lock.js';
import { breathe, due } from './run/loop.js';
import { checkpointToGoOn } from './run/resume.js';
import type { StepResult } from './step.js';
import { PRETRAINING, Trainer } from './trainer.js';

/** How a program watches and stops a run. */
export interface PretrainHooks {
  /** Told everything that happens. */
  readonly onEvent?: (event: TrainEvent) => void;
  /** Asked after every step; true saves and ends the run. `() => signal.aborted` heeds an AbortSignal. */
  readonly shouldStop?: () => boolean;
}

/**
 * Pre-trains a model as the configuration says: collect, vocabulary, tokens, steps, checkpoints. With a path as `model` it goes
 * on from that model's weights, with a new optimizer. Run again on the same folder, it goes on where it stopped, bit for bit;
 * `run/policy.ts` says which settings may be others by then. With `ranks` it trains in so many processes, whose part of the work is
 * pretrainAsRank().
 * @throws TrainMoeError `busy` when another process trains in the folder, `bad-config` when it was begun with other settings or
 *   with some that its model has no use for,
 *   `not-finite` when a loss or gradient is not a number (a replay bundle is saved), whatever reading the data and the folder may
 *   bring, and with `ranks` what pretrainOnRanks() throws.
 */
export async function pretrain(config: RunConfig, hooks: PretrainHooks = {}): Promise<RunEnd> {
  if (config.ranks === 1) return pretrainAsRank(config, hooks);
  return pretrainOnRanks(config, hooks);
}

/** As pretrain(), in config.ranks processes. @throws TrainMoeError `bad-config` when they cannot share the rows, and as runOnRanks() */
export async function pretrainOnRanks(
  config: RunConfig,
  hooks: RanksHooks<TrainEvent>,
  program?: string,
): Promise<RunEnd> {
  refuseUneven('train.rows', config.train.rows, config.ranks);
  return runOnRanks('pretrain', config, hooks, program);
}

/**
 * As pretrain(), of one process: of the only one, or of a rank. The first rank alone holds and writes the run folder, and tells what
 * happens; asked to stop, it stops all.
 */
export async function pretrainAsRank(config: RunConfig, hooks: PretrainHooks, place?: RankPlace): Promise<RunEnd> {
  const ranks = place?.communicator;
  const first = isFirst(ranks);
  const tell = (first && hooks.onEvent) || (() => {});
  if (config.threads) addon.setThreads(config.threads);
  const { device, reason } = chooseDevice(config.device);
  refuseSettings(familyOfRun(config), config); // as a wrong name, it is told before anything is made
  const lock = first ? lockRun(config.out) : undefined;
  try {
    const note = (sentence: string) => tell({ kind: 'note', sentence });
    const goingOn = first
      ? checkpointToGoOn(config.out, PRETRAINING, decidedBy(config, device), runConfigSchema, note)
      : undefined;
    const checkpoint = first ? goingOn : place?.checkpoint;
    const progress: CorpusEvents['progress'] = (phase, done, total, unit) =>
      tell({ kind: 'progress', phase, done, total, unit });
    const corpus = await prepareCorpus(config, { note, progress }, { goingOn: checkpoint !== undefined });
    if (place) meetAll(place, goingOn, device, config.rankTimeout);
    const context = { config, corpus, device, reason, tell, shouldStop: hooks.shouldStop ?? (() => false), ranks };
    return await advising(
      device,
      () => choicesOf(context),
      async () => {
        const beginning = beginningOf(config, corpus, device);
        const trainer = new Trainer(firstModel(config, corpus, device), corpus, config, device, beginning, ranks);
        try {
          if (checkpoint) trainer.restore(checkpoint.path);
          if (goingOn) note(goingOn.sentence);
          return await run(trainer, context);
        } finally {
          trainer.dispose();
        }
      },
    );
  } finally {
    lock?.release();
  }
}

interface Context {
  readonly config: RunConfig;
  readonly corpus: Corpus;
  readonly device: Device;
  readonly reason: string | undefined;
  readonly tell: (event: TrainEvent) => void;
  readonly shouldStop: () => boolean;
  readonly ranks: Communicator | undefined;
}

/** What could be changed, should the memory not suffice. */
function choicesOf({ config, corpus, device }: Context): Choices<StepSize> {
  const shape = modelConfigFor(config, corpus.tokenizer.vocabSize);
  const model = { ...shape, dtype: computeType(config, device) } as unknown as Model;
  const { ranks } = config;
  const { optimizer, ...train } = config.train;
  const choices = stepChoices(model, { ...train, moments: optimizer.moments }, PRETRAIN_FLAGS, {
    master: optimizer.master,
    ranks,
    full: true,
  });
  return ofAllRanks(choices, ranks, device);
}

/** Steps until the end, a stop, or an error; with evaluations and checkpoints on the way. */
async function run(trainer: Trainer, c: Context): Promise<RunEnd> {
  const { config, tell } = c;
  const { steps, length } = config.train;
  const started = performance.now();
  const flops = flopsPerToken(trainer.model, length, config.data.masked);
  const peak = summed(c.ranks, measurePeak(c.device, trainer.model.dtype), 'speed of the devices');
  tell({ kind: 'start', run: factsOf(trainer, c, peak) });
  const recorder = isFirst(c.ranks) ? openRecorder(config.out, trainer.step, config.log.tensorboard) : undefined;
  const losses: [number, number][] = [];
  const loads = new RecentLoads();
  let evaluation: Evaluation | undefined;
  let saved: { path: string; step: number } | undefined;
  let stopped = false;
  const save = () => {
    if (saved?.step === trainer.step) return;
    recorder?.sync();
    saved = trainer.save() ?? { path: config.out, step: trainer.step };
    tell({ kind: 'saved', at: trainer.step, path: saved.path });
  };
  const judge = () => {
    evaluation = evaluateNow(trainer, c);
    if (!evaluation) return;
    recorder?.write(trainer.step, {
      'validation/loss': evaluation.loss,
      ...(evaluation.bitsPerByte && { 'validation/bits_per_byte': evaluation.bitsPerByte }),
      ...(evaluation.relation && {
        'validation/relation_loss': evaluation.relation.loss,
        'validation/relation_accuracy': evaluation.relation.accuracy,
      }),
    });
    tell({ kind: 'evaluation', at: trainer.step, evaluation });
  };
  try {
    while (trainer.step < steps && !stopped) {
      const record = oneStep(trainer, flops, peak, c, loads);
      losses.push([record.step, record.loss]);
      recorder?.write(record.step, metricsOf(record));
      tell({ kind: 'step', step: record });
      await breathe();
      stopped = agreed(c.ranks, c.shouldStop());
      const last = trainer.step === steps;
      if (last || due(config.evaluate.every, trainer.step)) judge();
      if (last || stopped || due(config.save.every, trainer.step)) save();
    }
    const end: RunEnd = {
      step: trainer.step,
      stopped: stopped && trainer.step < steps,
      checkpoint: saved?.path ?? findLatest(config.out).checkpoint?.path,
      evaluation: evaluation ?? (stopped ? undefined : evaluateNow(trainer, c)),
      seconds: (performance.now() - started) / 1000,
      losses,
      loads: loads.shares(),
      peakMemory: memoryOf(c.device).peak,
    };
    tell({ kind: 'end', end });
    return end;
  } finally {
    recorder?.close();
  }
}

function oneStep(
  trainer: Trainer,
  flops: number,
  peak: number,
  { config, ranks }: Context,
  loads: RecentLoads,
): StepRecord {
  const start = performance.now();
  const { lr, tokens: before } = trainer;
  let result: StepResult;
  try {
    result = trainer.next();
  } catch (error) {
    if (!(error instanceof TrainMoeError) || error.code !== 'not-finite') throw error;
    throw withReplay(error, trainer, config, ranks);
  }
  loads.add(result.loads);
  const seconds = (performance.now() - start) / 1000;
  const tokensPerSecond = (trainer.tokens - before) / seconds;
  return {
    step: trainer.step,
    steps: config.train.steps,
    loss: result.loss,
    mtpLoss: result.mtpLoss,
    relationLoss: result.relationLoss,
    softLoss: result.softLoss,
    cosineLoss: result.cosineLoss,
    balanceLoss: result.balanceLoss,
    gradNorm: result.gradNorm,
    lr,
    tokens: trainer.tokens,
    tokensPerSecond,
    mfu: (tokensPerSecond * flops) / peak,
    seconds,
    imbalance: worstImbalance(result.loads),
  };
}

function metricsOf(r: StepRecord): Record<string, number> {
  const all: Record<string, number | undefined> = {
    'train/loss': r.loss,
    'train/mtp_loss': r.mtpLoss,
    'train/relation_loss': r.relationLoss,
    'train/soft_loss': r.softLoss,
    'train/cosine_loss': r.cosineLoss,
    'train/balance_loss': r.balanceLoss,
    'train/grad_norm': r.gradNorm,
    'train/lr': r.lr,
    'train/tokens': r.tokens,
    'train/imbalance': r.imbalance,
    'speed/tokens_per_second': r.tokensPerSecond,
    'speed/mfu': r.mfu,
    'speed/step_seconds': r.seconds,
  };
  return Object.fromEntries(Object.entries(all).filter(([, v]) => v !== undefined)) as Record<string, number>;
}

function evaluateNow({ model }: Trainer, { config, corpus, device, ranks }: Context): Evaluation | undefined {
  const { rows, accumulate, length } = config.train;
  ranks?.enter('evaluation');
  return evaluate(model, corpus.tokens.split('validation'), {
    device,
    rows: Math.ceil(rows / config.ranks / accumulate), // what fits into memory
    length,
    windows: config.evaluate.windows,
    packing: config.data.packing,
    objective: corpus.objective,
    ranks,
  });
}

function factsOf(trainer: Trainer, { config, corpus, device, reason }: Context, peakFlops: number) {
  const { model } = trainer;
  const { train } = config;
  return {
    out: config.out,
    device: device.name,
    deviceReason: reason,
    threads: addon.hostInfo().threads,
    ranks: config.ranks,
    dtype: model.dtype,
    memory: estimateMemory(model, {
      dtype: model.dtype,
      ranks: config.ranks,
      tokens: Math.ceil(train.rows / config.ranks / train.accumulate) * train.length,
      moments: train.optimizer.moments,
      master: train.optimizer.master,
      recompute: train.recompute,
    }),
    activeParameters: model.family.activeParameters(model.config),
    trainTokens: corpus.tokens.split('train').tokens,
    validationTokens: corpus.tokens.split('validation').tokens,
    firstStep: trainer.step,
    steps: train.steps,
    peakFlops,
  };
}
