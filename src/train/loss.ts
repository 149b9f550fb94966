import { type Batch, IGNORE, shiftOnce } from '../data/index.js';
import { TrainMoeError } from '../errors.js';
import type { Model } from '../models/family.js';
import { type Layout, type LayoutValues, layoutOf, layoutValues, rewriteLayout } from '../nn/layout.js';
import { type RelativeLayout, relativeLayoutOf, rewriteRelativeLayout } from '../nn/relative_layout.js';
import type { Routing, Run } from '../nn/run.js';
import { crossEntropy, linearCrossEntropy } from '../ops/cross_entropy.js';
import { gather } from '../ops/gather.js';
import { weightedSum } from '../ops/weighted_sum.js';
import { type Device, from, named, type Tensor } from '../tensor/index.js';
import { type Distilled, distilled, type Lesson, type Teacher } from './distill.js';
import { allPadding, maskedValues } from './masked.js';
import { type Remembering, remembering, type SegmentMemory } from './memory.js';
import { permutedValues } from './permuted.js';

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
  /** All tokens are padding: no expert sees them. */
  readonly padding?: boolean;
  readonly recompute?: boolean;
  readonly onRouting?: (routing: Routing) => void;
  /** XLNet: what is remembered of the rows of the whole step; absent: nothing. */
  readonly memory?: SegmentMemory | undefined;
  /** Rows of the whole step: the denominator of the loss on pairs. Default: those of the batch. */
  readonly stepRows?: number;
  /** The first of the step's rows that is in this micro-batch. */
  readonly firstRow?: number;
  /** An encoder that this one learns from; absent: none. */
  readonly teacher?: Teacher | undefined;
}

/** Scalars; all but `balance`, which has been rooted by its layers, are roots of the backward pass. */
export interface Losses {
  readonly main: Tensor;
  readonly mtp: Tensor | undefined;
  /** How the texts of pairs belong together, and what the model says of it, [rows,2]. */
  readonly relation: Tensor | undefined;
  readonly relationLogits: Tensor | undefined;
  readonly distilled: Distilled | undefined;
  readonly balance: readonly Tensor[];
  /** Puts the rows into the memory that was read; called once the way back is done. */
  readonly remember: (() => void) | undefined;
}

/** What the loss of a micro-batch reads, before it is tensors. */
export interface LossValues {
  readonly layout: LayoutValues;
  readonly relative?: RelativeLayout<Int32Array, Uint8Array>;
  readonly ids: Int32Array; // [T]
  readonly main: Targets<Int32Array, Float32Array>;
  readonly types?: Int32Array | undefined; // [T]
  readonly relation?: Targets<Int32Array, Float32Array> | undefined; // [rows]
  readonly lesson?: { readonly layout: LayoutValues; readonly each: number } | undefined;
  /** Of multi-token prediction, where it is trained; `ids` are the tokens one further. */
  readonly next: (Targets<Int32Array, Float32Array> & { readonly ids: Int32Array }) | undefined;
}

interface Targets<I, F> {
  readonly targets: I; // [T], or [R] of rows
  readonly weights: F; // the same; factor of each token's loss
  readonly rows?: I | undefined; // [R] of an encoder, the hidden states that the head reads
}

/** The same on the device. Steps of one shape may use the same tensors again: rewriteInputs(). */
export interface LossInputs {
  readonly layout: Layout;
  /** Of models with a memory, and what begins a pass that reads it. */
  readonly relative: RelativeLayout | undefined;
  readonly remembering: (() => Remembering) | undefined;
  readonly ids: Tensor;
  readonly main: Targets<Tensor, Tensor>;
  readonly types: Tensor | undefined;
  readonly relation: Targets<Tensor, Tensor> | undefined;
  readonly lesson: Lesson | undefined;
  readonly next: (Targets<Tensor, Tensor> & { readonly ids: Tensor }) | undefined;
}

function lossValues(model: Model<never, never>, batch: Batch, options: LossOptions): LossValues {
  const { rows, length, documentStart, targets, ids } = batch;
  const weighted = (of: Int32Array, weight: number) => ({
    targets: of,
    weights: Float32Array.from(of, (t) => (t === IGNORE ? 0 : weight)),
  });
  if (model.family.encoder) return maskedValues(model, batch, options);
  if (model.family.recurrence) return permutedValues(model, batch, options);
  const layout = layoutValues({ rows, length, causal: true, documentStart, ...allPadding(batch, options) });
  const main = weighted(targets, 1 / options.trainedTokens);
  if (!options.mtpWeight || !model.family.predictNext) return { layout, ids, main, next: undefined };
  const { nextIds, nextTargets } = shiftOnce(batch);
  const weight = options.mtpWeight / (options.trainedNext ?? options.trainedTokens);
  return { layout, ids, main, next: { ids: nextIds, ...weighted(nextTargets, weight) } };
}

/** Puts what the loss of a micro-batch reads on the device. */
export function lossInputs<C, W>(model: Model<C, W>, batch: Batch, options: LossOptions): LossInputs {
  const { device, memory, firstRow = 0 } = options;
  const v = lossValues(model as Model<never, never>, batch, options);
  const put = (values: Int32Array | Float32Array) => from(values, [values.length], { device });
  const both = ({ targets, weights, rows }: Targets<Int32Array, Float32Array>) => ({
    targets: put(targets),
    weights: put(weights),
    rows: rows && put(rows),
  });
  return {
    layout: layoutOf(v.layout, device),
    relative: v.relative && relativeLayoutOf(v.relative, device),
    remembering: memory && (() => remembering(memory, firstRow, firstRow + batch.rows)),
    ids: put(v.ids),
    main: both(v.main),
    types: v.types && put(v.types),
    relation: v.relation && both(v.relation),
    lesson: v.lesson && { ...v.lesson, layout: layoutOf(v.lesson.layout, device) },
    next: v.next && { ids: put(v.next.ids), ...both(v.next) },
  };
}

/** Gives inputs the numbers of another micro-batch of the same shape. */
export function rewriteInputs<C, W>(inputs: LossInputs, model: Model<C, W>, batch: Batch, options: LossOptions): void {
  const v = lossValues(model as Model<never, never>, batch, options);
  rewriteLayout(inputs.layout, v.layout);
  if (inputs.relative && v.relative) rewriteRelativeLayout(inputs.relative, v.relative);
  inputs.ids.write(v.ids);
  inputs.main.targets.write(v.main.targets);
  inputs.main.weights.write(v.main.weights);
  if (v.main.rows) inputs.main.rows?.write(v.main.rows);
  if (v.types) inputs.types?.write(v.types);
  if (v.lesson && inputs.lesson) rewriteLayout(inputs.lesson.layout, v.lesson.layout);
  if (v.relation) inputs.relation?.targets.write(v.relation.targets);
  if (v.relation) inputs.relation?.weights.write(v.relation.weights);
  if (!inputs.next || !v.next) return;
  inputs.next.ids.write(v.next.ids);
  inputs.next.targets.write(v.next.targets);
  inputs.next.weights.write(v.next.weights);
}

/** What a pass does besides the loss; numbers of the batch are in the inputs. */
export type PassOptions = Pick<LossOptions, 'balance' | 'share' | 'recompute' | 'onRouting' | 'teacher'>;

/**
 * Cross-entropy of next tokens, or of those that an encoder finds hidden or XLNet predicts, summed over the trained tokens of a batch and
 * divided by `trainedTokens`, with the multi-token-prediction and balance losses of the family.
 */
export function languageModelLoss<C, W>(model: Model<C, W>, batch: Batch, options: LossOptions): Losses {
  return lossOf(model, lossInputs(model, batch, options), options);
}

/** As languageModelLoss(), on inputs that are on the device already. */
export function lossOf<C, W>({ family, config, weights }: Model<C, W>, inputs: LossInputs, o: PassOptions): Losses {
  const memory = inputs.remembering?.();
  const run: Run = {
    layout: inputs.layout,
    ...(inputs.types && { types: inputs.types }),
    ...(inputs.relative && { relative: { ...memory, layout: inputs.relative } }),
    losses: [],
    balance: o.balance,
    auxScale: o.share ?? 1,
    recompute: o.recompute,
    onRouting: o.onRouting,
  };
  const hidden = family.forward(weights, config, inputs.ids, run); // [T,C], of XLNet's targets [rows*K,C]
  const head = family.head(weights);
  const readByHead = (x: Tensor): Tensor => {
    const { rows } = inputs.main;
    return family.encoder && rows ? family.encoder.transform(weights, config, gather(x, rows)) : x;
  };
  const loss = (x: Tensor, t: Targets<Tensor, Tensor>) =>
    linearCrossEntropy(x, head.weight, t.targets, { weights: t.weights, bias: head.bias });
  const main = named('head', () => loss(readByHead(hidden), inputs.main));
  const { next } = inputs;
  const pairs = inputs.relation && named('pairs', () => relationOf({ family, config, weights }, hidden, inputs));
  const { lesson } = inputs;
  const taught =
    o.teacher && lesson
      ? named('teacher', () => distilled({ family, config, weights }, hidden, inputs.ids, o.teacher!, lesson))
      : undefined;
  const rest = { ...pairs, distilled: taught, balance: run.losses, remember: memory?.remember };
  if (!next || !family.predictNext) return { ...NO_PAIRS, main, mtp: undefined, ...rest };
  const further = named('next token', () => family.predictNext!(weights, config, hidden, next.ids, run));
  return { ...NO_PAIRS, main, mtp: named('head', () => loss(further, next)), ...rest };
}

const NO_PAIRS = { relation: undefined, relationLogits: undefined } as const;

/** The loss of the head that judges pairs. @throws TrainMoeError `bad-argument` of a model without one */
function relationOf<C, W>(
  { family, config, weights }: Pick<Model<C, W>, 'family' | 'config' | 'weights'>,
  hidden: Tensor,
  { layout, relation }: LossInputs,
) {
  const relationLogits = family.encoder?.relation(weights, config, hidden, layout);
  if (!relationLogits)
    throw new TrainMoeError(
      'bad-argument',
      'The batch holds labels of pairs of texts, which this model does not judge.',
    );
  const { targets, weights: mean } = relation!;
  return { relationLogits, relation: weightedSum(crossEntropy(relationLogits, targets), mean) };
}

/** Rows start..end of a batch as a batch of its own. */
export function cutBatch(batch: Batch, start: number, end: number): Batch {
  const cut = (values: Int32Array) => values.subarray(start * batch.length, end * batch.length);
  const { targetsPerRow, types, turns, history, backwards, relations } = batch;
  const targets = cut(batch.targets);
  return {
    rows: end - start,
    length: batch.length,
    ids: cut(batch.ids),
    targets,
    documentStart: cut(batch.documentStart),
    trainedTokens: targets.reduce((n, t) => n + (t === IGNORE ? 0 : 1), 0),
    ...(targetsPerRow !== undefined && { targetsPerRow }),
    ...(types && { types: cut(types) }),
    ...(turns && { turns: cut(turns) }),
    ...(relations && { relations: relations.subarray(start, end) }),
    ...(history && { history: history.subarray(start, end) }),
    ...(backwards && { backwards: backwards.subarray(start, end) }),
    bytes: 0,
  };
}
