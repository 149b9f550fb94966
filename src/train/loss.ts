import { type Batch, IGNORE, shiftOnce } from '../data/index.js';
import type { Model } from '../models/family.js';
import { makeLayout } from '../nn/layout.js';
import type { Routing, Run } from '../nn/run.js';
import { linearCrossEntropy } from '../ops/cross_entropy.js';
import { type Device, from, type Tensor } from '../tensor/index.js';

export interface LossOptions {
  readonly device: Device;
  /** Trained tokens of the whole step: the denominator, so that cutting a step into micro-batches changes nothing. */
  readonly trainedTokens: number;
  /** The same for the multi-token-prediction loss. */
  readonly trainedNext?: number;
  /** Weight of the multi-token-prediction loss; 0 or absent leaves the module out. */
  readonly mtpWeight?: number;
  readonly balance?: boolean;
  /** Share of the step's sequences in this micro-batch, for per-sequence losses. */
  readonly share?: number;
  readonly recompute?: boolean;
  readonly onRouting?: (routing: Routing) => void;
}

/** Scalars in f32; `main` and `mtp` are roots of the backward pass, `balance` has been rooted by its layers. */
export interface Losses {
  readonly main: Tensor;
  readonly mtp: Tensor | undefined;
  readonly balance: readonly Tensor[];
}

/**
 * Next-token cross-entropy of a batch, summed over its trained tokens and divided by `trainedTokens`, with the
 * multi-token-prediction and balance losses of the family.
 */
export function languageModelLoss<C, W>(model: Model<C, W>, batch: Batch, options: LossOptions): Losses {
  const { family, config, weights } = model;
  const { device } = options;
  const count = batch.rows * batch.length;
  const ids = from(batch.ids, [count], { device });
  const layout = makeLayout({
    rows: batch.rows,
    length: batch.length,
    causal: true,
    documentStart: batch.documentStart,
    device,
  });
  const run: Run = {
    layout,
    losses: [],
    balance: options.balance,
    auxScale: options.share ?? 1,
    recompute: options.recompute,
    onRouting: options.onRouting,
  };
  const hidden = family.forward(weights, config, ids, run); // [T,C]
  const head = family.head(weights);
  const main = crossEntropy(hidden, head, batch.targets, 1 / options.trainedTokens, device);
  if (!options.mtpWeight || !family.predictNext) return { main, mtp: undefined, balance: run.losses };
  const { nextIds, nextTargets } = shiftOnce(batch);
  const further = family.predictNext(weights, config, hidden, from(nextIds, [count], { device }), run);
  const mtp = crossEntropy(
    further,
    head,
    nextTargets,
    options.mtpWeight / (options.trainedNext ?? options.trainedTokens),
    device,
  );
  return { main, mtp, balance: run.losses };
}

function crossEntropy(hidden: Tensor, head: Tensor, targets: Int32Array, weight: number, device: Device): Tensor {
  const weights = Float32Array.from(targets, (t) => (t === IGNORE ? 0 : weight));
  return linearCrossEntropy(hidden, head, from(targets, [targets.length], { device }), {
    weights: from(weights, [weights.length], { device }),
  });
}

/** Rows start..end of a batch as a batch of its own. */
export function cutBatch(batch: Batch, start: number, end: number): Batch {
  const cut = (values: Int32Array) => values.subarray(start * batch.length, end * batch.length);
  const targets = cut(batch.targets);
  return {
    rows: end - start,
    length: batch.length,
    ids: cut(batch.ids),
    targets,
    documentStart: cut(batch.documentStart),
    trainedTokens: targets.reduce((n, t) => n + (t === IGNORE ? 0 : 1), 0),
    bytes: 0,
  };
}
