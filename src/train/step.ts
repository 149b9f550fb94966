import { type Batch, shiftOnce } from '../data/index.js';
import { TrainMoeError } from '../errors.js';
import type { Model } from '../models/family.js';
import type { Routing } from '../nn/run.js';
import type { AdamW } from '../optim/adamw.js';
import {
  type Device,
  differentiate,
  keep,
  named,
  permanent,
  Repeated,
  readLater,
  scope,
  type Tensor,
  tagged,
  tensorsIn,
} from '../tensor/index.js';
import { cutBatch, type LossInputs, type LossOptions, lossInputs, lossOf, rewriteInputs } from './loss.js';

/** What a step did. Losses are means over trained tokens, in nats. */
export interface StepResult {
  readonly loss: number;
  readonly mtpLoss: number | undefined;
  readonly balanceLoss: number | undefined;
  readonly gradNorm: number;
  readonly trainedTokens: number;
  /** Tokens per expert of each routed layer, by layer. */
  readonly loads: ReadonlyMap<number, Float64Array>;
}

export interface StepOptions {
  readonly device: Device;
  readonly lr: number;
  readonly clip: number;
  /** Micro-batches; more than the rows is the number of rows. */
  readonly accumulate: number;
  readonly mtpWeight: number;
  readonly balance: boolean;
  readonly recompute: boolean;
  /** V3: how far router biases move. */
  readonly biasSpeed: number;
}

/** What the passes over a step's micro-batches leave on the device, for one wait at the end. */
interface Passed {
  readonly main: readonly Tensor[];
  readonly mtp: readonly Tensor[];
  readonly balance: readonly Tensor[];
  readonly counts: readonly { readonly layer: number; readonly counts: Tensor }[];
  readonly norm: Tensor;
}

/**
 * One optimizer step on a batch: forward and backward per micro-batch, clip, AdamW, router biases. The host waits once, for
 * losses and norm between the backward passes and the update.
 *
 * With `graphs`, the passes of steps of one shape are recorded and launched as a whole.
 * @throws TrainMoeError `not-finite` before anything was changed when the loss or the gradient is not finite.
 */
export function trainStep<C, W>(
  model: Model<C, W>,
  optimizer: AdamW,
  batch: Batch,
  options: StepOptions,
  graphs?: StepGraphs,
): StepResult {
  const parts = cutStep(batch, options);
  const passed = graphs
    ? graphs.run(model, optimizer, parts, options)
    : scope(() =>
        allPasses(
          model,
          optimizer,
          parts,
          options,
          parts.map((p) => lossInputs(model, p.batch, p)),
        ),
      );
  const read = readAll(passed);
  const biases = options.biasSpeed > 0 ? (model.family.routerBiases?.(model.weights) ?? []) : [];
  const before = new Map(biases.map(({ layer, bias }) => [layer, bias.read()]));
  if (!graphs) for (const tensor of tensorsIn(passed)) tensor.dispose();
  if (!Number.isFinite(read.loss) || !Number.isFinite(read.norm))
    throw new TrainMoeError(
      'not-finite',
      `The loss is ${read.loss} and the gradient's norm ${read.norm}; nothing was updated.`,
    );
  named('optimizer', () => optimizer.step(options.lr));
  for (const { layer, bias } of biases) {
    const load = read.loads.get(layer);
    if (load) bias.write(movedBias(before.get(layer)!, load, options.biasSpeed));
  }
  return {
    loss: read.loss,
    mtpLoss: options.mtpWeight ? read.mtp / options.mtpWeight : undefined,
    balanceLoss: options.balance ? read.balance : undefined,
    gradNorm: read.norm,
    trainedTokens: batch.trainedTokens,
    loads: read.loads,
  };
}

/** A micro-batch with what its loss needs to know of the whole step. */
interface Part extends LossOptions {
  readonly batch: Batch;
}

function cutStep(batch: Batch, options: StepOptions): Part[] {
  const count = Math.min(options.accumulate, batch.rows);
  const trainedNext = options.mtpWeight ? shiftOnce(batch).trained : 0;
  return Array.from({ length: count }, (_, part) => {
    const start = Math.floor((batch.rows * part) / count);
    const end = Math.floor((batch.rows * (part + 1)) / count);
    return {
      batch: cutBatch(batch, start, end),
      device: options.device,
      mtpWeight: options.mtpWeight,
      balance: options.balance,
      recompute: options.recompute,
      trainedTokens: batch.trainedTokens,
      trainedNext,
      share: (end - start) / batch.rows,
    };
  });
}

/** Forward and backward of every micro-batch and the gradient's norm. Nothing of it waits for the device. */
function allPasses<C, W>(
  model: Model<C, W>,
  optimizer: AdamW,
  parts: readonly Part[],
  options: StepOptions,
  inputs: readonly LossInputs[],
): Passed {
  return tagged('activations', () => {
    const counts: { layer: number; counts: Tensor }[] = [];
    optimizer.resetGradients();
    const losses = inputs.map((input, i) =>
      differentiate(() => {
        const onRouting = (r: Routing) => counts.push({ layer: r.layer, counts: keep(r.counts) });
        const { main, mtp, balance } = lossOf(model, input, { ...parts[i]!, onRouting });
        return { main, mtp, balance, losses: mtp ? [main, mtp] : [main] };
      }),
    );
    return {
      main: losses.map((l) => l.main),
      mtp: losses.flatMap((l) => l.mtp ?? []),
      balance: losses.flatMap((l) => l.balance),
      counts,
      norm: named('clip', () => optimizer.measure(options.clip)),
    };
  });
}

/** Starts all copies to the host, then waits for them. */
function readAll(passed: Passed) {
  const later = (tensors: readonly Tensor[]) => tensors.map(readLater);
  const [main, mtp, balance] = [later(passed.main), later(passed.mtp), later(passed.balance)];
  const counts = passed.counts.map(({ layer, counts: c }) => ({ layer, values: readLater(c) }));
  const norm = readLater(passed.norm);
  const sum = (values: readonly (() => ArrayLike<number>)[]) => values.reduce((total, v) => total + v()[0]!, 0);
  const loads = new Map<number, Float64Array>();
  for (const { layer, values } of counts) {
    const now = values();
    const load = loads.get(layer) ?? new Float64Array(now.length);
    for (let e = 0; e < now.length; e++) load[e]! += now[e]!;
    loads.set(layer, load);
  }
  return { loss: sum(main), mtp: sum(mtp), balance: sum(balance), norm: norm()[0]!, loads };
}

/**
 * The recorded passes of steps of one shape. Steps of another shape (a last, smaller batch; a ramp) start over, so that only
 * one record keeps its memory.
 */
export class StepGraphs {
  private shape = '';
  private inputs: readonly LossInputs[] = [];
  private passes: Repeated<Passed> | undefined;

  /** @internal called by trainStep() */
  run<C, W>(model: Model<C, W>, optimizer: AdamW, parts: readonly Part[], options: StepOptions): Passed {
    const shape = JSON.stringify([
      parts.map(({ batch, share }) => [batch.rows, batch.length, share]),
      options.mtpWeight > 0,
      options.balance,
      options.recompute,
      options.clip,
    ]);
    if (shape !== this.shape) this.start(shape, model, parts, options);
    else for (const [i, input] of this.inputs.entries()) rewriteInputs(input, model, parts[i]!.batch, parts[i]!);
    return this.passes!.run(() => allPasses(model, optimizer, parts, options, this.inputs));
  }

  dispose(): void {
    this.passes?.dispose();
    this.passes = undefined;
    for (const tensor of tensorsIn(this.inputs)) tensor.dispose();
    this.inputs = [];
    this.shape = '';
  }

  private start<C, W>(shape: string, model: Model<C, W>, parts: readonly Part[], { device }: StepOptions): void {
    this.dispose();
    this.inputs = permanent(() => parts.map((p) => lossInputs(model, p.batch, p)));
    this.passes = new Repeated(device);
    this.shape = shape;
  }
}

/**
 * b_i += gamma * sign(mean load - load_i), over the whole step. DeepSeek-V3 section 2.1.2; Wang et al., arXiv:2408.15664.
 */
export function updateBiases<C, W>(model: Model<C, W>, loads: ReadonlyMap<number, Float64Array>, gamma: number): void {
  for (const { layer, bias } of model.family.routerBiases?.(model.weights) ?? []) {
    const load = loads.get(layer);
    if (load) bias.write(movedBias(bias.read(), load, gamma));
  }
}

function movedBias(bias: Float32Array, load: Float64Array, gamma: number): Float32Array {
  const mean = load.reduce((a, b) => a + b, 0) / load.length;
  return bias.map((b, e) => b + gamma * Math.sign(mean - load[e]!));
}
