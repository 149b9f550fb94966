import { type Batch, IGNORE, shiftOnce } from '../data/index.js';
import type { Model } from '../models/family.js';
import * as native from '../native.gen.js';
import type { Routing } from '../nn/run.js';
import type { AdamW } from '../optim/adamw.js';
import { type Communicator, shareOf } from '../parallel/index.js';
import {
  type Device,
  differentiate,
  empty,
  keep,
  named,
  readLater,
  rows,
  sizeOf,
  type Tensor,
  tagged,
  zeros,
} from '../tensor/index.js';
import type { Teacher } from './distill.js';
import { cutBatch, type LossInputs, type LossOptions, lossOf } from './loss.js';
import type { SegmentMemory } from './memory.js';

/** What a step does with a batch. */
export interface StepOptions {
  /** That of the model. */
  readonly device: Device;
  /** Learning rate of this step. */
  readonly lr: number;
  /** Largest norm of the gradient; 0: not clipped. */
  readonly clip: number;
  /** Micro-batches; more than the rows is the number of rows. */
  readonly accumulate: number;
  /** Weight of the multi-token-prediction loss; 0: none. */
  readonly mtpWeight: number;
  /** With the balance losses of the configuration. */
  readonly balance: boolean;
  /** Blocks are recomputed on the way back instead of remembered: less memory, more time. */
  readonly recompute: boolean;
  /** V3: how far router biases move. */
  readonly biasSpeed: number;
  /** XLNet: what is remembered of the rows of earlier steps. */
  readonly memory?: SegmentMemory | undefined;
  /** An encoder that this one learns from. */
  readonly teacher?: Teacher | undefined;
  /** Those that train together, each on its rows of the batch; those of the optimizer. */
  readonly ranks?: Communicator | undefined;
}

/** A micro-batch with what its loss needs to know of the whole step. */
export interface Part extends LossOptions {
  readonly batch: Batch;
}

/**
 * The micro-batches of a step; on several ranks those of this one, as many as the others have. What they add up to is divided by
 * the numbers of the whole batch. A rank that is left without a row passes one as padding, from which nothing comes.
 */
export function cutStep(batch: Batch, options: StepOptions): Part[] {
  const { rank, size } = options.ranks ?? { rank: 0, size: 1 };
  const [first, last] = shareOf(batch.rows, rank, size);
  const count = Math.max(1, Math.min(options.accumulate, Math.floor(batch.rows / size)));
  const trainedNext = options.mtpWeight ? shiftOnce(batch).trained : 0;
  return Array.from({ length: count }, (_, part) => {
    const [start, end] = shareOf(last - first, part, count).map((row) => first + row) as [number, number];
    return {
      batch: end > start ? cutBatch(batch, start, end) : untrained(cutBatch(batch, 0, 1)),
      padding: end === start,
      device: options.device,
      mtpWeight: options.mtpWeight,
      balance: options.balance,
      recompute: options.recompute,
      trainedTokens: batch.trainedTokens,
      trainedNext,
      share: (end - start) / batch.rows,
      memory: options.memory,
      firstRow: start,
      stepRows: batch.rows,
      teacher: options.teacher,
    };
  });
}

/** The same tokens, none of which is trained. */
const untrained = (batch: Batch): Batch => ({ ...batch, targets: batch.targets.map(() => IGNORE), trainedTokens: 0 });

/** What the passes leave on the device. */
export interface Gradients {
  /** Losses in f64, and how many of them are on words, of `mtp`, of `relation`, `soft` and `cosine`; the rest are balance losses. */
  readonly losses: Tensor;
  readonly counts: readonly number[];
  readonly loads: Loads | undefined;
}

/** What a step leaves on the device for the host to read. */
export interface Passed extends Gradients {
  /** [1] of the gradient. */
  readonly norm: Tensor;
}

/** Tokens per expert of each routed layer over all micro-batches. */
interface Loads {
  readonly all: Tensor; // [E of all layers together] i32
  readonly layers: readonly { readonly layer: number; readonly load: Tensor }[]; // windows on it
}

type Counts = readonly Pick<Routing, 'layer' | 'counts'>[];

/**
 * A whole step on the device: forward and backward of every micro-batch, the gradient's norm, AdamW, router biases. The
 * learning rate and the like were written before (AdamW.prepare), and nothing of it waits for the device. Unless losses and
 * norm are finite, nothing is updated.
 */
export function allPasses<C, W>(
  model: Model<C, W>,
  optimizer: AdamW,
  parts: readonly Part[],
  options: StepOptions,
  inputs: readonly LossInputs[],
): Passed {
  return updated(model, optimizer, options, takeGradients(model, optimizer, parts, options, inputs));
}

/** The first half of a step: forward and backward of every micro-batch. */
export function takeGradients<C, W>(
  model: Model<C, W>,
  optimizer: AdamW,
  parts: readonly Part[],
  options: StepOptions,
  inputs: readonly LossInputs[],
): Gradients {
  return tagged('activations', () => {
    optimizer.resetGradients();
    let loads: Loads | undefined;
    const found = inputs.map((input, i) => {
      const counts: Pick<Routing, 'layer' | 'counts'>[] = [];
      const loss = differentiate(() => {
        const onRouting = (r: Routing) => counts.push({ layer: r.layer, counts: keep(r.counts) });
        const { relationLogits: _, ...all } = lossOf(model, input, { ...parts[i]!, onRouting });
        const { main, mtp, relation, distilled } = all;
        const roots = [main, mtp, relation, ...(distilled?.soft ?? []), distilled?.cosine];
        return { ...all, losses: roots.filter((root) => root !== undefined) };
      });
      loss.remember?.();
      loads = added(loads, counts, options.device);
      return loss;
    });
    const main = found.map((l) => l.main);
    const mtp = found.flatMap((l) => l.mtp ?? []);
    const relation = found.flatMap((l) => l.relation ?? []);
    const soft = found.flatMap(({ distilled: d }) => (d ? [...d.soft, d.offset] : []));
    const cosine = found.flatMap((l) => l.distilled?.cosine ?? []);
    const scalars = [...main, ...mtp, ...relation, ...soft, ...cosine, ...found.flatMap((l) => l.balance)];
    const losses = empty([scalars.length], { dtype: 'f64', device: options.device });
    native.stack(losses, scalars);
    for (const scalar of scalars) scalar.dispose();
    const counts = [main, mtp, relation, soft, cosine].map(({ length }) => length);
    return { losses, counts, loads };
  });
}

/**
 * The second half of a step: the gradient's norm, AdamW, router biases. On several ranks gradients, losses and loads are summed
 * over them first, so that all see the same and decide alike.
 */
export function updated<C, W>(
  model: Model<C, W>,
  optimizer: AdamW,
  { clip, biasSpeed, ranks }: StepOptions,
  { losses, counts, loads }: Gradients,
): Passed {
  ranks?.allReduce([losses], 'sum', 'sum of the losses');
  if (ranks && loads) ranks.allReduce([loads.all], 'sum', 'sum of the loads of experts');
  optimizer.reduceGradients();
  const norm = named('clip', () => optimizer.measure(clip, rows(losses, 0, counts[0]!)));
  named('optimizer', () => optimizer.update());
  if (biasSpeed > 0) named('router bias', () => moveBiases(model, loads, optimizer, biasSpeed));
  return { losses, counts, norm, loads };
}

/** Adds a micro-batch's counts; every one has the same layers. */
function added(loads: Loads | undefined, counts: Counts, device: Device): Loads | undefined {
  if (counts.length === 0) return loads;
  const sum = loads ?? noLoads(counts, device);
  const of = sum.layers.map(({ load }) => load);
  native.addCounts(
    of,
    counts.map((c) => c.counts),
  );
  for (const c of counts) c.counts.dispose();
  return sum;
}

function noLoads(counts: Counts, device: Device): Loads {
  const sizes = counts.map((c) => sizeOf(c.counts.shape));
  const all = zeros([sizes.reduce((a, b) => a + b, 0)], { dtype: 'i32', device });
  let from = 0;
  const layers = counts.map(({ layer }, i) => {
    const begin = from;
    from += sizes[i]!;
    return { layer, load: rows(all, begin, from) };
  });
  return { all, layers };
}

/** b_i += gamma * sign(mean load - load_i), over the whole step. DeepSeek-V3 section 2.1.2; Wang et al., arXiv:2408.15664. */
function moveBiases<C, W>(model: Model<C, W>, loads: Loads | undefined, optimizer: AdamW, gamma: number): void {
  const loadOf = new Map(loads?.layers.map(({ layer, load }) => [layer, load]));
  const moved = (model.family.routerBiases?.(model.weights) ?? []).filter(({ layer }) => loadOf.has(layer));
  if (moved.length === 0) return;
  native.routerBias(
    moved.map(({ bias }) => bias),
    moved.map(({ layer }) => loadOf.get(layer)!),
    optimizer.scale,
    gamma,
  );
}

/** What a step found, on the host. */
interface Read {
  readonly loss: number;
  readonly mtp: number;
  /** Undefined where no pairs are judged. */
  readonly relation: number | undefined;
  /** Undefined where there is no teacher. */
  readonly soft: number | undefined;
  readonly cosine: number | undefined;
  readonly balance: number;
  readonly norm: number;
  /** Tokens per expert, by layer. */
  readonly loads: ReadonlyMap<number, Float64Array>;
}

/** What allPasses() left, on the host: all copies are begun, then one wait ends them. */
export function readAll({ losses, counts, norm, loads }: Passed): Read {
  const [values, length, tokens] = [readLater(losses), readLater(norm), loads && readLater(loads.all)];
  const read = values() as Float64Array;
  const sum = (values: Float64Array) => values.reduce((total, value) => total + value, 0);
  let end = 0;
  const sums = counts.map((count) => {
    end += count;
    return count > 0 ? sum(read.subarray(end - count, end)) : undefined;
  });
  const [main = 0, mtp = 0, relation, soft, cosine] = sums;
  const tokensOf = tokens?.();
  let at = 0;
  const loadOf = ({ layer, load }: Loads['layers'][number]): [number, Float64Array] => {
    const begin = at;
    at += load.size;
    return [layer, Float64Array.from(tokensOf!.subarray(begin, at))];
  };
  return {
    loss: main,
    mtp,
    relation,
    soft,
    cosine,
    balance: sum(read.subarray(end)),
    norm: length()[0]!,
    loads: new Map(loads?.layers.map(loadOf)),
  };
}
