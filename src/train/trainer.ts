import type { RunConfig } from '../config/index.js';
import type { Batch, BatchIterator, DataState } from '../data/index.js';
import { TrainMoeError } from '../errors.js';
import type { FolderSink } from '../hub/byte_sink.js';
import { writeModelFolder } from '../hub/folder.js';
import { disposeModel, parametersOf, trainedParameters } from '../models/codec.js';
import type { Model } from '../models/family.js';
import { type LoadedModel, modelContent } from '../models/folder.js';
import { AdamW } from '../optim/adamw.js';
import { Ema } from '../optim/ema.js';
import { biasSpeedAt, mtpWeightAt, rampedRows, type Schedule, scheduleFactor } from '../optim/schedule.js';
import type { Communicator } from '../parallel/index.js';
import { type Device, graphsPay, type Tensor } from '../tensor/index.js';
import type { Corpus } from './corpus.js';
import { openTeacher, type Teacher } from './distill.js';
import { exactMasters } from './exact.js';
import { type SegmentMemory, segmentMemory, shareMemory } from './memory.js';
import { openBatches } from './objective.js';
import { saveAsRank } from './ranks/save.js';
import type { Saved } from './run/checkpoint.js';
import type { Beginning } from './run/policy.js';
import { type Place, type RunState, readRunState, writeRunState } from './run/state.js';
import { writeTokenizerFiles } from './run/tokenizer_files.js';
import { StepGraphs, type StepResult, trainStep } from './step.js';

/** The place that a run has reached. */
interface TrainerPlace extends Place {
  readonly tokens: number;
  readonly data: DataState;
}

/** The kind of run, in file names and in sentences. */
export const PRETRAINING = { name: 'state', title: 'pre-training' } as const;

/** Values that a family's configuration may carry for training; 0 where it has none. */
interface FamilyTraining {
  readonly mtpWeight?: number;
  readonly mtpLayers?: number;
  readonly biasSpeed?: number;
}

/** A run in progress: model, optimizer, averages and the place in the data. One step at a time. */
export class Trainer {
  private readonly optimizer: AdamW;
  private readonly ema: Ema | undefined;
  private readonly graphs: StepGraphs | undefined;
  private readonly memory: SegmentMemory | undefined;
  private readonly teacher: Teacher | undefined;
  private source: BatchIterator;
  step = 0;
  tokens = 0;
  /** The batch of the step that is running or ran last, for a replay bundle. */
  lastBatch: Batch | undefined;

  constructor(
    readonly model: Model,
    private readonly corpus: Corpus,
    private readonly config: RunConfig,
    private readonly device: Device,
    private readonly beginning: Beginning,
    /** Those that train together, of which the first alone saves. */
    private readonly ranks?: Communicator,
  ) {
    const { optimizer, ema } = config.train;
    const trained = trainedParameters(model);
    this.optimizer = new AdamW(trained, optimizer, device, ranks);
    exactMasters(model, this.optimizer);
    this.ema = ema
      ? new Ema(
          trained.map(({ name, tensor }) => ({ name, tensor, values: this.optimizer.masterOf(tensor) })),
          ema,
        )
      : undefined;
    this.graphs = graphsPay(device) ? new StepGraphs() : undefined;
    this.memory = segmentMemory(model, config.train.rows, config.train.length, device);
    this.teacher = openTeacher(config, model, device);
    this.source = this.openData();
  }

  /** Learning rate of the coming step. */
  get lr(): number {
    const { optimizer, schedule, steps } = this.config.train;
    return optimizer.lr * scheduleFactor(schedule as Schedule, this.step, steps);
  }

  /** Makes one step. @throws TrainMoeError `not-finite`, with weights and optimizer as they were before it. */
  next(): StepResult {
    const { train } = this.config;
    const family = this.model.config as FamilyTraining;
    const batch = this.source.next(rampedRows(this.step, train.rows, train.rowsRamp)).value!;
    this.lastBatch = batch;
    this.ranks?.enter(`forward and backward of step ${this.step + 1}`);
    const options = {
      device: this.device,
      ranks: this.ranks,
      lr: this.lr,
      clip: train.clip,
      accumulate: train.accumulate,
      mtpWeight: family.mtpLayers ? mtpWeightAt(family.mtpWeight ?? 0, this.step, train.steps) : 0,
      balance: true,
      recompute: train.recompute,
      biasSpeed: biasSpeedAt(family.biasSpeed ?? 0, this.step, train.steps),
      memory: this.memory,
      teacher: this.teacher,
    };
    const result = trainStep(this.model, this.optimizer, batch, options, this.graphs);
    this.ema?.update();
    this.step++;
    this.tokens += batch.rows * batch.length;
    return result;
  }

  /**
   * Saves everything that the run needs to go on bit for bit, on as many ranks or on others; the folder also loads as a Hugging
   * Face model. All ranks call it, for what is read of them, and the first one writes; undefined on the others.
   */
  save(): Saved | undefined {
    const { out, save } = this.config;
    return saveAsRank(this.ranks, out, this.step, (folder) => this.writeContent(folder), save.keep);
  }

  private writeContent(folder: FolderSink): void {
    const base = (this.model as Partial<LoadedModel>).hubConfig;
    const master = (t: Tensor) => this.optimizer.masterOf(t).read();
    writeModelFolder(folder, modelContent(this.model, { dtype: 'f32', base, valuesOf: master }));
    writeTokenizerFiles(folder, this.corpus.tokenizer);
    if (this.ema) {
      const { ema } = this;
      writeModelFolder(
        { file: (name, fill) => folder.file(`ema/${name}`, fill) },
        modelContent(this.model, {
          dtype: 'f32',
          base,
          valuesOf: (t) => ema.of(t).read(),
        }),
      );
    }
    const place: TrainerPlace = {
      step: this.step,
      tokens: this.tokens,
      data: this.source.state,
    };
    if (this.memory && this.ranks) shareMemory(this.memory, this.ranks);
    writeRunState(folder, this.state(), place);
  }

  /**
   * Goes on from a checkpoint.
   * @throws TrainMoeError `bad-data` when it is none of pre-training, or of another model, type, vocabulary or text;
   *   `bad-config` when it is of other settings
   */
  restore(path: string): void {
    const place = readRunState<TrainerPlace>(this.state(), path);
    this.step = place.step;
    this.tokens = place.tokens;
    this.source = this.openData(place.data);
  }

  dispose(): void {
    this.graphs?.dispose();
    this.optimizer.dispose();
    this.ema?.dispose();
    for (const layer of this.memory?.layers ?? []) layer.dispose();
    if (this.teacher) disposeModel(this.teacher.model);
    disposeModel(this.model);
  }

  private state(): RunState {
    const weights = parametersOf(this.model).map(({ path, tensor }) => [`weight.${path}`, tensor] as const);
    const memory = (this.memory?.layers ?? []).map((layer, i) => [`memory.${i}`, layer] as const);
    const tensors = [...weights, ...(this.ema?.state() ?? []), ...memory];
    const { config, optimizer, beginning } = this;
    return { ...PRETRAINING, out: config.out, beginning, optimizer, tensors };
  }

  private openData(state?: DataState): BatchIterator {
    const { train, data } = this.config;
    return openBatches(
      {
        shards: this.corpus.tokens.split('train'),
        rows: train.rows,
        length: train.length,
        packing: data.packing,
        fim: fimOptions(this.corpus, data.fim),
        ...(state ? { state } : { seed: train.seed }),
      },
      this.corpus.objective,
    );
  }
}

function fimOptions({ tokenizer }: Corpus, rate: number) {
  if (rate === 0) return undefined;
  const id = (token: string): number => {
    const found = tokenizer.idOf(token);
    if (found === undefined)
      throw new TrainMoeError(
        'bad-config',
        `data.fim is on, but the tokenizer has no token ${token}; set data.fim to 0 or use a vocabulary with it.`,
      );
    return found;
  };
  return { rate, beginId: id('<｜fim▁begin｜>'), holeId: id('<｜fim▁hole｜>'), endId: id('<｜fim▁end｜>') };
}
