import type { Batch } from '../data/index.js';
import { TrainMoeError } from '../errors.js';
import type { Model } from '../models/family.js';
import type { AdamW } from '../optim/adamw.js';
import { permanent, Repeated, scope, tensorsIn } from '../tensor/index.js';
import { type LossInputs, lossInputs, rewriteInputs } from './loss.js';
import {
  allPasses,
  cutStep,
  type Gradients,
  type Part,
  type Passed,
  readAll,
  type StepOptions,
  takeGradients,
  updated,
} from './passes.js';

/** What a step did. Losses are means over trained tokens, in nats. */
export interface StepResult {
  readonly loss: number;
  /** Before its weight. */
  readonly mtpLoss: number | undefined;
  /** On how pairs of texts belong together. */
  readonly relationLoss: number | undefined;
  /** Divergence from the teacher's probabilities, times the temperature squared. */
  readonly softLoss: number | undefined;
  /** One less the cosine to the teacher's hidden states. */
  readonly cosineLoss: number | undefined;
  readonly balanceLoss: number | undefined;
  /** Before clipping. */
  readonly gradNorm: number;
  /** Targets that have a loss. */
  readonly trainedTokens: number;
  /** Tokens per expert of each routed layer, by layer. */
  readonly loads: ReadonlyMap<number, Float64Array>;
}

/**
 * One optimizer step on a batch: forward and backward per micro-batch, clip, AdamW, router biases. The host waits once, for
 * losses, norm and loads, when all of it is on its way.
 *
 * With `graphs`, steps of one shape are recorded and launched as a whole. On several ranks all make this call with the same batch;
 * the result is that of the whole batch on each of them.
 * @throws TrainMoeError `not-finite` when the loss or the gradient is not finite; nothing was changed then.
 */
export function trainStep<C, W>(
  model: Model<C, W>,
  optimizer: AdamW,
  batch: Batch,
  options: StepOptions,
  graphs?: StepGraphs,
): StepResult {
  const parts = cutStep(batch, options);
  optimizer.prepare(options.lr);
  const read = graphs
    ? scope(() => readAll(graphs.run(model, optimizer, parts, options)))
    : scope(() => {
        const inputs = parts.map((p) => lossInputs(model, p.batch, p));
        return readAll(allPasses(model, optimizer, parts, options, inputs));
      });
  if (!Number.isFinite(read.loss) || !Number.isFinite(read.norm))
    throw new TrainMoeError(
      'not-finite',
      `The loss is ${read.loss} and the gradient's norm ${read.norm}; nothing was updated.`,
    );
  optimizer.steps++;
  const { teacher } = options;
  return {
    loss: read.loss / (teacher?.words ?? 1),
    mtpLoss: options.mtpWeight ? read.mtp / options.mtpWeight : undefined,
    relationLoss: read.relation,
    softLoss: teacher && read.soft! / teacher.soft,
    cosineLoss: teacher && read.cosine !== undefined ? 1 + read.cosine / teacher.cosine : undefined,
    balanceLoss: options.balance ? read.balance : undefined,
    gradNorm: read.norm,
    trainedTokens: batch.trainedTokens,
    loads: read.loads,
  };
}

/**
 * Recorded steps of one shape. Steps of another shape (a last, smaller batch; a ramp) start over, so that only one record
 * keeps its memory. What several ranks do together is not recorded: with them the record ends with the gradients.
 */
export class StepGraphs {
  private shape = '';
  private inputs: readonly LossInputs[] = [];
  private passes: Repeated<Passed | Gradients> | undefined;

  /** @internal called by trainStep() */
  run<C, W>(model: Model<C, W>, optimizer: AdamW, parts: readonly Part[], options: StepOptions): Passed {
    const shape = JSON.stringify([
      parts.map(({ batch, share, padding }) => [batch.rows, batch.length, share, padding]),
      options.mtpWeight > 0,
      options.balance,
      options.recompute,
      options.clip,
      options.biasSpeed,
    ]);
    if (shape !== this.shape) this.start(shape, model, parts, options);
    else for (const [i, input] of this.inputs.entries()) rewriteInputs(input, model, parts[i]!.batch, parts[i]!);
    const pass = options.ranks ? takeGradients<C, W> : allPasses<C, W>;
    const done = this.passes!.run(() => pass(model, optimizer, parts, options, this.inputs));
    return 'norm' in done ? done : updated(model, optimizer, options, done);
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
