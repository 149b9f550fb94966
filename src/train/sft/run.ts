import { refuseMissing } from '../../data/records.js';
import { TrainMoeError } from '../../errors.js';
import { contextOf } from '../../models/family.js';
import { modelFingerprint } from '../../models/fingerprint.js';
import { loadDecoder } from '../../models/folder.js';
import { addon } from '../../native.js';
import { countParameters } from '../../nn/param.js';
import { chooseDevice, type Device } from '../../tensor/index.js';
import { type ChatTemplate, loadTokenizer, openChatTemplate } from '../../tokenizer/index.js';
import { advising, type Choices, ofAllRanks, SFT_FLAGS, type StepSize, stepChoices } from '../fit.js';
import { agreed, isFirst } from '../ranks/agree.js';
import { type RanksHooks, refuseUneven, runOnRanks } from '../ranks/launch.js';
import { meetAll, type RankPlace } from '../ranks/place.js';
import { openRecorder, type Recorder } from '../recorder.js';
import { findLatest } from '../run/checkpoint.js';
import { lockRun } from '../run/lock.js';
import { breathe, due } from '../run/loop.js';
import { modelFolder } from '../run/model_folder.js';
import { settingsToKeep } from '../run/policy.js';
import { checkpointToGoOn, type GoingOn } from '../run/resume.js';
import { fitLength, type SftConfig, type SftSettings, sftSchema } from './config.js';
import { loadSftData, type SftData } from './data.js';
import type { SftEnd, SftEvent, SftFacts, SftRecord, SftScore } from './events.js';
import { adapters, type Trainee, wholeModel } from './trainee.js';
import { SFT, SftTrainer } from './trainer.js';

/** How a program watches and stops a run. */
export interface SftHooks {
  /** Told everything that happens. */
  readonly onEvent?: (event: SftEvent) => void;
  /** Asked after every step; true saves and ends the run. `() => signal.aborted` heeds an AbortSignal. */
  readonly shouldStop?: () => boolean;
}

/**
 * Fine-tunes a model on conversations as the settings say: the loss is taken on what the assistant says. Run again on the
 * same folder, it goes on where it stopped, bit for bit (`train/run/policy.ts` says which settings may be others by then). The
 * checkpoint is a Hugging Face folder with tokenizer and chat template.
 * @throws TrainMoeError `busy` when another process trains in the folder, `bad-config` when it was begun with other settings,
 *   `not-finite` when a loss or gradient is not a number (the last checkpoint stands), and whatever reading model and data may
 *   bring, and with `ranks` what runOnRanks() throws
 */
export async function sft(config: SftConfig, hooks: SftHooks = {}): Promise<SftEnd> {
  return config.ranks === 1 ? sftAsRank(config, hooks) : sftOnRanks(config, hooks);
}

/** As sft(), in config.ranks processes. @throws TrainMoeError `bad-config` when they cannot share the rows, and as runOnRanks() */
export async function sftOnRanks(config: SftConfig, hooks: RanksHooks<SftEvent>, program?: string): Promise<SftEnd> {
  refuseUneven('rows', config.rows, config.ranks);
  return runOnRanks('sft', config, hooks, program);
}

/**
 * As sft(), of one process: of the only one, or of a rank. The first rank alone holds and writes the run folder, and tells what
 * happens.
 */
export async function sftAsRank(
  config: SftConfig,
  { onEvent, shouldStop }: SftHooks,
  place?: RankPlace,
): Promise<SftEnd> {
  const first = isFirst(place?.communicator);
  const hooks: SftHooks = { ...(first && onEvent && { onEvent }), ...(shouldStop && { shouldStop }) };
  if (config.threads) addon.setThreads(config.threads);
  const { device, reason } = chooseDevice(config.device);
  const from = modelFolder(config.model);
  refuseMissing([...config.data, ...config.validationData]);
  const lock = first ? lockRun(config.out) : undefined;
  try {
    const note = (sentence: string) => hooks.onEvent?.({ kind: 'note', sentence });
    const goingOn = first ? checkpointToGoOn(config.out, SFT, config, sftSchema, note) : undefined;
    const tokenizer = loadTokenizer(config.tokenizer ?? from);
    const template = await openChatTemplate(tokenizer, {
      ...(config.tokenizer === undefined && { folder: from }),
      template: config.template,
      stopTokens: config.stopTokens,
    });
    const trainee = openTrainee(config, from, device);
    return await trainOn(trainee, template, { config, device, reason, hooks, goingOn, from, place });
  } finally {
    lock?.release();
  }
}

interface About {
  readonly config: SftConfig;
  readonly device: Device;
  readonly reason: string | undefined;
  readonly hooks: SftHooks;
  /** As the first rank knows it. */
  readonly goingOn: GoingOn | undefined;
  /** The folder of the model that the run starts from. */
  readonly from: string;
  readonly place: RankPlace | undefined;
}

/** Reads the data for a model that is loaded, trains, and gives the model's memory back. */
async function trainOn(trainee: Trainee, template: ChatTemplate, { device, reason, ...about }: About): Promise<SftEnd> {
  const { onEvent: tell = () => {}, shouldStop = () => false } = about.hooks;
  const { place, goingOn } = about;
  const ranks = place?.communicator;
  let trainer: SftTrainer | undefined;
  try {
    const config = fitLength(about.config, contextOf(trainee.model));
    const data = await loadSftData(config, template, (conversations) => tell({ kind: 'reading', conversations }));
    noteLosses(data, config, tell);
    if (place) meetAll(place, goingOn, device, config.rankTimeout);
    const checkpoint = isFirst(ranks) ? goingOn : place?.checkpoint;
    const beginning = {
      settings: settingsToKeep(SFT.name, about.config),
      content: { model: modelFingerprint(about.from), 'data set': data.fingerprint },
    };
    return await advising(
      device,
      () => choicesOf(trainee, config, device),
      async () => {
        trainer = new SftTrainer(trainee, data, template, config, device, beginning, ranks);
        if (checkpoint) trainer.restore(checkpoint.path);
        if (goingOn) tell({ kind: 'note', sentence: goingOn.sentence });
        tell({ kind: 'start', run: factsOf(trainer, { config, device, reason, data, template }) });
        return await run(trainer, config, tell, () => agreed(ranks, shouldStop()));
      },
    );
  } finally {
    if (trainer) trainer.dispose();
    else trainee.dispose();
  }
}

/** What could be changed, should the memory not suffice. */
function choicesOf({ model, trained }: Trainee, config: SftSettings, device: Device): Choices<StepSize> {
  const share = trained.reduce((n, t) => n + t.tensor.size, 0) / countParameters(model.family.specs(model.config));
  const memory = { trained: Math.min(share, 1), narrowest: 'bf16', ranks: config.ranks } as const;
  return ofAllRanks(stepChoices(model, config, SFT_FLAGS, memory), config.ranks, device);
}

function openTrainee({ dtype, lora, seed, model }: SftConfig, from: string, device: Device): Trainee {
  if (lora.rank === 0) return wholeModel(loadDecoder(from, { device, dtype, train: true }));
  return adapters(loadDecoder(from, { device, dtype, train: false }), lora, { device, seed, base: model });
}

function noteLosses({ counts }: SftData, { length, overlong }: SftSettings, tell: (event: SftEvent) => void): void {
  const lost = counts.dropped + counts.cut;
  if (lost === 0) return;
  const what = overlong === 'cut' ? `cut, ${counts.dropped} without an answer dropped` : 'dropped';
  const sentence = `${lost} of ${counts.conversations} conversations are longer than length = ${length} and were ${what}.`;
  tell({ kind: 'note', sentence });
}

/** Steps until the end, a stop or an error; with evaluations and checkpoints on the way. */
async function run(
  trainer: SftTrainer,
  config: SftConfig,
  tell: (event: SftEvent) => void,
  shouldStop: () => boolean,
): Promise<SftEnd> {
  const { steps, stepsPerEpoch } = trainer.plan;
  const began = performance.now();
  const recorder = isFirst(trainer.ranks) ? openRecorder(config.out, trainer.step, config.tensorboard) : undefined;
  const losses: [number, number][] = [];
  let saved: { readonly path: string; readonly step: number } | undefined;
  let stopped = false;
  const save = () => {
    recorder?.sync();
    saved = trainer.save() ?? { path: config.out, step: trainer.step };
    tell({ kind: 'saved', at: trainer.step, path: saved.path });
  };
  try {
    const before = trainer.step === 0 ? evaluateNow(trainer, recorder, tell) : undefined;
    let after: SftScore | undefined;
    while (trainer.step < steps && !stopped) {
      const record = oneStep(trainer);
      losses.push([record.step, record.loss]);
      recorder?.write(record.step, metricsOf(record));
      tell({ kind: 'step', record });
      await breathe();
      stopped = shouldStop();
      const last = trainer.step === steps;
      if (last || due(config.evaluateEvery || stepsPerEpoch, trainer.step))
        after = evaluateNow(trainer, recorder, tell);
      if (last || stopped || due(config.saveEvery, trainer.step)) save();
    }
    const end: SftEnd = {
      step: trainer.step,
      stopped: stopped && trainer.step < steps,
      checkpoint: saved?.path ?? findLatest(config.out).checkpoint?.path,
      seconds: (performance.now() - began) / 1000,
      losses,
      before,
      after,
    };
    tell({ kind: 'end', end });
    return end;
  } finally {
    recorder?.close();
  }
}

/** One step; an error says which it was. */
function oneStep(trainer: SftTrainer): SftRecord {
  const start = performance.now();
  const { lr } = trainer;
  try {
    const { loss, mtpLoss, balanceLoss, gradNorm, trainedTokens, epoch, tokens, fill } = trainer.next();
    const { step, plan } = trainer;
    const tokensPerSecond = (1000 * tokens) / (performance.now() - start);
    const figures = { loss, mtpLoss, balanceLoss, gradNorm, lr, trainedTokens, tokens, tokensPerSecond, fill };
    return { step, steps: plan.steps, epoch: epoch + 1, ...figures };
  } catch (error) {
    if (!(error instanceof TrainMoeError) || error.code !== 'not-finite') throw error;
    throw new TrainMoeError(
      'not-finite',
      `Step ${trainer.step + 1}: ${error.message} To go on from the last checkpoint with a lower --lr or --max-norm, give it as --model, and another --out.`,
      { cause: error },
    );
  }
}

function metricsOf(r: SftRecord): Record<string, number> {
  const all: Record<string, number | undefined> = {
    'train/loss': r.loss,
    'train/mtp_loss': r.mtpLoss,
    'train/balance_loss': r.balanceLoss,
    'train/grad_norm': r.gradNorm,
    'train/lr': r.lr,
    'train/epoch': r.epoch,
    'train/trained_tokens': r.trainedTokens,
    'train/fill': r.fill,
    'speed/tokens_per_second': r.tokensPerSecond,
  };
  return Object.fromEntries(Object.entries(all).filter(([, v]) => v !== undefined)) as Record<string, number>;
}

function evaluateNow(
  trainer: SftTrainer,
  recorder: Recorder | undefined,
  tell: (event: SftEvent) => void,
): SftScore | undefined {
  const score = trainer.evaluate();
  if (!score) return undefined;
  recorder?.write(trainer.step, { 'validation/loss': score.loss });
  tell({ kind: 'evaluation', at: trainer.step, score });
  return score;
}

function factsOf(
  { trainee: { model, trained }, step, plan }: SftTrainer,
  about: {
    readonly config: SftConfig;
    readonly device: Device;
    readonly reason: string | undefined;
    readonly data: SftData;
    readonly template: ChatTemplate;
  },
): SftFacts {
  const { config, device, reason, data, template } = about;
  return {
    out: config.out,
    device: device.name,
    deviceReason: reason,
    threads: addon.hostInfo().threads,
    ranks: config.ranks,
    dtype: model.dtype,
    parameters: countParameters(model.family.specs(model.config)),
    trainedParameters: trained.reduce((sum, { tensor }) => sum + tensor.size, 0),
    template: template.origin,
    counts: data.counts,
    examples: data.train.length,
    heldOut: data.validation.length,
    firstStep: step,
    steps: plan.steps,
  };
}
