import { type Batch, shiftOnce } from '../data/index.js';
import { TrainMoeError } from '../errors.js';
import type { Model } from '../models/family.js';
import type { AdamW } from '../optim/adamw.js';
import { type Device, differentiate, scope } from '../tensor/index.js';
import { cutBatch, languageModelLoss } from './loss.js';

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

/**
 * One optimizer step on a batch: forward and backward per micro-batch, clip, AdamW, router biases.
 * @throws TrainMoeError `not-finite` before anything was changed when the loss or the gradient is not finite.
 */
export function trainStep<C, W>(model: Model<C, W>, optimizer: AdamW, batch: Batch, options: StepOptions): StepResult {
  const loads = new Map<number, Float64Array>();
  const trainedNext = options.mtpWeight ? shiftOnce(batch).trained : 0;
  const parts = Math.min(options.accumulate, batch.rows);
  const sums = { loss: 0, mtp: 0, balance: 0 };
  optimizer.resetGradients();
  for (let part = 0; part < parts; part++) {
    const start = Math.floor((batch.rows * part) / parts);
    const end = Math.floor((batch.rows * (part + 1)) / parts);
    scope(() => {
      const { main, mtp, balance } = differentiate(() => {
        const losses = languageModelLoss(model, cutBatch(batch, start, end), {
          ...options,
          trainedTokens: batch.trainedTokens,
          trainedNext,
          share: (end - start) / batch.rows,
          onRouting: ({ layer, counts }) => addCounts(loads, layer, counts.readInts()),
        });
        return { ...losses, losses: losses.mtp ? [losses.main, losses.mtp] : [losses.main] };
      });
      sums.loss += main.item();
      sums.mtp += mtp?.item() ?? 0;
      for (const b of balance) {
        sums.balance += b.item();
        b.dispose();
      }
    });
  }
  const { norm } = optimizer.clip(options.clip);
  if (!Number.isFinite(sums.loss) || !Number.isFinite(norm))
    throw new TrainMoeError(
      'not-finite',
      `The loss is ${sums.loss} and the gradient's norm ${norm}; nothing was updated.`,
    );
  optimizer.step(options.lr);
  if (options.biasSpeed > 0) updateBiases(model, loads, options.biasSpeed);
  return {
    loss: sums.loss,
    mtpLoss: options.mtpWeight ? sums.mtp / options.mtpWeight : undefined,
    balanceLoss: options.balance ? sums.balance : undefined,
    gradNorm: norm,
    trainedTokens: batch.trainedTokens,
    loads,
  };
}

function addCounts(loads: Map<number, Float64Array>, layer: number, counts: Int32Array): void {
  const sum = loads.get(layer) ?? new Float64Array(counts.length);
  for (let e = 0; e < counts.length; e++) sum[e]! += counts[e]!;
  loads.set(layer, sum);
}

/**
 * b_i += gamma * sign(mean load - load_i), over the whole step. DeepSeek-V3 section 2.1.2; Wang et al., arXiv:2408.15664.
 */
export function updateBiases<C, W>(model: Model<C, W>, loads: ReadonlyMap<number, Float64Array>, gamma: number): void {
  for (const { layer, bias } of model.family.routerBiases?.(model.weights) ?? []) {
    const load = loads.get(layer);
    if (!load) continue;
    const mean = load.reduce((a, b) => a + b, 0) / load.length;
    bias.write(bias.read().map((b, e) => b + gamma * Math.sign(mean - load[e]!)));
  }
}
