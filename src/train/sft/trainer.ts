import { batchOf, packRows, positionsOf } from '../../data/index.js';
import type { FolderSink } from '../../hub/byte_sink.js';
import { writeModelFolder } from '../../hub/folder.js';
import { modelContent } from '../../models/folder.js';
import { AdamW } from '../../optim/adamw.js';
import { type Schedule, scheduleFactor } from '../../optim/schedule.js';
import type { Communicator } from '../../parallel/index.js';
import { type Device, graphsPay, noGrad, type Tensor } from '../../tensor/index.js';
import type { ChatTemplate } from '../../tokenizer/index.js';
import { exactMasters } from '../exact.js';
import { languageModelLoss } from '../loss.js';
import { summed } from '../ranks/agree.js';
import { saveAsRank } from '../ranks/save.js';
import type { Saved } from '../run/checkpoint.js';
import type { Beginning } from '../run/policy.js';
import { type RunState, readRunState, writeRunState } from '../run/state.js';
import { writeTokenizerFiles } from '../run/tokenizer_files.js';
import { StepGraphs, type StepResult, trainStep } from '../step.js';
import type { SftSettings } from './config.js';
import { planSteps, type SftData, type SftPlan } from './data.js';
import type { SftScore } from './events.js';
import type { Trainee } from './trainee.js';

/** The kind of run, in file names and in sentences. */
export const SFT = { name: 'sft', title: 'SFT' } as const;

/** Values that a family's configuration may carry for training; 0 where it has none. */
interface FamilyTraining {
  readonly mtpWeight?: number;
  readonly mtpLayers?: number;
  readonly biasSpeed?: number;
}

/** What a step did, and how full its rows were. */
export interface SftStep extends StepResult {
  /** From 0. */
  readonly epoch: number;
  /** Positions, empty ones included. */
  readonly tokens: number;
  /** Share of the positions that hold tokens. */
  readonly fill: number;
}

/** A run of supervised fine-tuning in progress: model, optimizer and the place in the data. One step at a time. */
export class SftTrainer {
  private readonly optimizer: AdamW;
  private readonly graphs: StepGraphs | undefined;
  readonly plan: SftPlan;
  step = 0;

  constructor(
    readonly trainee: Trainee,
    private readonly data: SftData,
    private readonly template: ChatTemplate,
    private readonly config: SftSettings,
    private readonly device: Device,
    private readonly beginning: Beginning,
    /** Those that train together, of which the first alone saves. */
    readonly ranks?: Communicator,
  ) {
    const { decay, moments, lora } = config;
    this.optimizer = new AdamW(trainee.trained, { beta1: 0.9, beta2: 0.95, eps: 1e-8, decay, moments }, device, ranks);
    exactMasters(trainee.model, this.optimizer);
    // Dropout draws anew in every step from a seed that a record would repeat.
    const repeats = lora.rank === 0 || lora.dropout === 0;
    this.graphs = graphsPay(device) && repeats ? new StepGraphs() : undefined;
    this.plan = planSteps(data.train, config);
  }

  /** Learning rate of the coming step. */
  get lr(): number {
    const { schedule: kind, floor, warmup, lr } = this.config;
    return lr * scheduleFactor({ kind, floor, warmup } as Schedule, this.step, this.plan.steps);
  }

  /** Makes one step. @throws TrainMoeError `not-finite`, with weights and optimizer as they were before it. */
  next(): SftStep {
    const { config, device } = this;
    const { model, frozen } = this.trainee;
    const family = model.config as FamilyTraining;
    const { rows, epoch } = this.plan.rowsOf(this.step);
    const batch = batchOf(this.data.train, rows);
    const { rank, size } = this.ranks ?? { rank: 0, size: 1 };
    this.trainee.inStep(this.step * size + rank); // ranks draw their own chance
    this.ranks?.enter(`forward and backward of step ${this.step + 1}`);
    const options = {
      device,
      ranks: this.ranks,
      lr: this.lr,
      clip: config.maxNorm,
      accumulate: config.accumulate,
      mtpWeight: config.mtp && family.mtpLayers ? (family.mtpWeight ?? 0) : 0,
      balance: config.balance,
      recompute: config.recompute,
      biasSpeed: config.balance && !frozen ? (family.biasSpeed ?? 0) : 0,
    };
    const result = trainStep(model, this.optimizer, batch, options, this.graphs);
    this.trainee.inStep(undefined);
    this.step++;
    const held = rows.flat().reduce((sum, example) => sum + positionsOf(this.data.train[example]!), 0);
    return { ...result, epoch, tokens: batch.rows * batch.length, fill: held / (batch.rows * batch.length) };
  }

  /** Mean loss over the trained tokens of the held-out examples; undefined when there are none. */
  evaluate(): SftScore | undefined {
    const { validation } = this.data;
    const { rows, ranks, accumulate, length } = this.config;
    if (validation.length === 0) return undefined;
    const packed = packRows(validation.map(positionsOf), length, 0, 0);
    const atOnce = Math.ceil(rows / ranks / accumulate);
    const { model } = this.trainee;
    const { rank, size } = this.ranks ?? { rank: 0, size: 1 };
    this.ranks?.enter('evaluation');
    let [own, tokens] = [0, 0];
    for (let start = 0, pass = 0; start < packed.length; start += atOnce, pass++) {
      const batch = batchOf(validation, packed.slice(start, start + atOnce));
      tokens += batch.trainedTokens;
      if (pass % size !== rank) continue;
      own += noGrad(() => languageModelLoss(model, batch, { device: this.device, trainedTokens: 1 }).main.item());
    }
    const loss = summed(this.ranks, own, 'loss on held-out examples');
    return { loss: loss / tokens, tokens, examples: validation.length };
  }

  /**
   * Saves everything that the run needs to go on bit for bit; the folder also loads as a Hugging Face model. All ranks call it, and
   * the first one writes; undefined on the others.
   */
  save(): Saved | undefined {
    return saveAsRank(this.ranks, this.config.out, this.step, (folder) => this.write(folder), this.config.keep);
  }

  private write(folder: FolderSink): void {
    const { trainee, optimizer, template } = this;
    const { model } = trainee;
    const valuesOf = (t: Tensor) => trainee.valuesOf(t, (trained) => optimizer.masterOf(trained).read());
    writeModelFolder(folder, modelContent(model, { dtype: 'f32', base: model.hubConfig, valuesOf }));
    const [end] = this.config.stopTokens;
    writeTokenizerFiles(folder, template.tokenizer, { template: template.source, end });
    trainee.write(folder, (t) => optimizer.masterOf(t).read());
    writeRunState(folder, this.state(), { step: this.step });
  }

  /**
   * Goes on from a checkpoint.
   * @throws TrainMoeError `bad-data` when it is none of SFT, or of another model or other data, `bad-config` when it is of
   *   other settings
   */
  restore(path: string): void {
    this.step = readRunState(this.state(), path).step;
  }

  dispose(): void {
    this.graphs?.dispose();
    this.optimizer.dispose();
    this.trainee.dispose();
  }

  private state(): RunState {
    const { beginning, optimizer, trainee } = this;
    return { ...SFT, out: this.config.out, beginning, optimizer, tensors: trainee.state() };
  }
}
