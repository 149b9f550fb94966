import { IGNORE, shiftOnce } from '../data/index.js';
import { TrainMoeError } from '../errors.js';
import { type Layout, makeLayout } from '../nn/layout.js';
import type { Routing, Run } from '../nn/run.js';
import { crossEntropy, linearCrossEntropy } from '../ops/cross_entropy.js';
import { weightedSum } from '../ops/weighted_sum.js';
import {
  type Device,
  differentiate,
  from,
  resetGradients,
  scope,
  type Tensor,
  tagged,
  tensorsIn,
  zeros,
} from '../tensor/index.js';
import { hubTensors } from './codec.js';
import { type Head, logitsOf, type Model } from './family.js';
import { checkInputs, type ForwardInputs } from './forward_inputs.js';
import { recurrentPass } from './recurrence.js';

export type { ForwardInputs } from './forward_inputs.js';

/** What a pass computes, on the host. */
export interface ForwardResult {
  /** [B,T,V], rows of padding are zero; of XLNet's targets [B,K,V]. */
  readonly logits: Float32Array;
  /** [B,T,C] each, as transformers' hidden_states; none where there are targets. */
  readonly hidden: readonly Float32Array[];
  /** Layer -> [B,T,K], in order of score. */
  readonly experts: ReadonlyMap<number, Int32Array>;
  readonly expertWeights: ReadonlyMap<number, Float32Array>;
  readonly loss?: number;
  readonly mainLoss?: number;
  readonly mtpLoss?: number;
  /** [B,T,V]; the last position of each row has no meaning. */
  readonly mtpLogits?: Float32Array;
  /** [B,2] of encoders that judge pairs of sentences. */
  readonly relationLogits?: Float32Array;
  /** Per layer [M,B,C] of XLNet, the mems of the next pass. */
  readonly newMems?: readonly Float32Array[];
  /** Gradients of `loss` under the names on disk. */
  readonly gradients?: ReadonlyMap<string, { readonly shape: readonly number[]; readonly values: Float32Array }>;
}

/**
 * Runs a model as transformers would on the same arguments, for comparing frameworks.
 * @throws TrainMoeError `bad-argument` when gradients are asked for without labels or of a model loaded without them, labels of
 *   pairs of a model that does not judge them, or arguments of another size or that the model does not take.
 */
export function forward(model: Model, inputs: ForwardInputs, device: Device, withGradients = false): ForwardResult {
  if (withGradients && !inputs.labels)
    throw new TrainMoeError('bad-argument', 'Gradients need labels; the inputs hold none.');
  return tagged('activations', () =>
    scope(() => {
      const seen: Seen = { hidden: [], experts: new Map(), expertWeights: new Map() };
      const pass = () => runOnce(model, inputs, device, seen);
      if (!withGradients) return { ...seen, ...valuesOf(pass(), inputs) };
      resetGradients(tensorsIn(model.weights).filter((t) => t.requiresGrad));
      const result = differentiate(() => {
        const r = pass();
        return { ...r, losses: [r.main!, r.mtp, r.relation].filter((loss) => loss !== undefined) };
      });
      return { ...seen, ...valuesOf(result, inputs), gradients: gradientsOf(model) };
    }),
  );
}

interface Seen {
  readonly hidden: Float32Array[];
  readonly experts: Map<number, Int32Array>;
  readonly expertWeights: Map<number, Float32Array>;
}

interface PassResult {
  readonly logits: Tensor;
  readonly main: Tensor | undefined;
  readonly mtp: Tensor | undefined;
  readonly mtpLogits: Tensor | undefined;
  readonly relation: Tensor | undefined;
  readonly relationLogits: Tensor | undefined;
  readonly newMems: readonly Float32Array[] | undefined;
}

function runOnce(model: Model, inputs: ForwardInputs, device: Device, seen: Seen): PassResult {
  const { family, config, weights } = model;
  checkInputs(model, inputs);
  const [rows, length] = inputs.shape;
  const count = rows * length;
  const layout = makeLayout({
    rows,
    length,
    causal: !family.encoder,
    mask: inputs.attentionMask,
    positions: inputs.positionIds ?? family.positions?.(config, inputs.inputIds, length),
    device,
  });
  const mask = inputs.attentionMask;
  const recurrent = recurrentPass(model, inputs, device);
  const run: Run = {
    layout,
    ...(recurrent && { relative: recurrent.relative }),
    ...(inputs.tokenTypeIds && { types: from(inputs.tokenTypeIds, [count], { device }) }),
    losses: [],
    onRouting: ({ layer, experts, weights: w }: Routing) => {
      seen.experts.set(layer, experts.readInts());
      seen.expertWeights.set(layer, w.read());
    },
    onHidden: (index, h) => {
      seen.hidden[index] = zeroPadding(h.read(), mask, h.size / count);
    },
  };
  const head = family.head(weights);
  const hidden = family.forward(weights, config, from(inputs.inputIds, [count], { device }), run);
  const read = family.encoder?.transform(weights, config, hidden) ?? hidden;
  const logits = logitsOf(model, read);
  const targets = family.encoder || recurrent ? inputs.labels : shiftLabels(inputs);
  const main = targets && meanLoss(read, head, targets, 1, device);
  const extras = { ...relationOf(model, hidden, layout, inputs.relationLabels), newMems: recurrent?.newMems() };
  if (!inputs.mtpWeight || !family.predictNext)
    return { logits, main, mtp: undefined, mtpLogits: undefined, ...extras };
  const documentStart = new Int32Array(count);
  const next = shiftOnce({
    ids: inputs.inputIds,
    targets: targets ?? new Int32Array(count).fill(IGNORE),
    documentStart,
    length,
  });
  const further = family.predictNext(weights, config, hidden, from(next.nextIds, [count], { device }), run);
  return {
    logits,
    main,
    mtp: targets && meanLoss(further, head, next.nextTargets, inputs.mtpWeight, device),
    mtpLogits: logitsOf(model, further),
    ...extras,
  };
}

/** The head that judges pairs of sentences, and its mean loss where there are labels [B]. */
function relationOf(
  { family, config, weights }: Model,
  hidden: Tensor,
  layout: Layout,
  labels: Int32Array | undefined,
) {
  const relationLogits = family.encoder?.relation(weights, config, hidden, layout); // [B,2]
  if (!labels) return { relationLogits, relation: undefined };
  if (!relationLogits)
    throw new TrainMoeError(
      'bad-argument',
      'The inputs hold labels of sentence pairs, which this model does not judge.',
    );
  const { device } = hidden;
  const mean = from(new Float32Array(layout.rows).fill(1 / layout.rows), [layout.rows], { device });
  const nll = crossEntropy(relationLogits, from(labels, [layout.rows], { device }));
  return { relationLogits, relation: weightedSum(nll, mean) };
}

function meanLoss(hidden: Tensor, head: Head, targets: Int32Array, weight: number, device: Device): Tensor {
  const trained = targets.reduce((n, t) => n + (t === IGNORE ? 0 : 1), 0);
  const weights = Float32Array.from(targets, (t) => (t === IGNORE ? 0 : weight / trained));
  return linearCrossEntropy(hidden, head.weight, from(targets, [targets.length], { device }), {
    bias: head.bias,
    weights: from(weights, [weights.length], { device }),
  });
}

/** The label of position i is that of token i+1. */
function shiftLabels({ labels, shape: [, length] }: ForwardInputs): Int32Array | undefined {
  return labels?.map((_, r) => ((r + 1) % length === 0 ? IGNORE : labels[r + 1]!));
}

function valuesOf(
  r: PassResult,
  inputs: ForwardInputs,
): Pick<ForwardResult, 'logits' | 'loss' | 'mainLoss' | 'mtpLoss' | 'mtpLogits' | 'relationLogits' | 'newMems'> {
  const count = inputs.shape[0] * inputs.shape[1];
  const mask = inputs.targetMapping ? undefined : inputs.attentionMask;
  const main = r.main?.item();
  const mtp = r.mtp?.item();
  return {
    logits: zeroPadding(r.logits.read(), mask, r.logits.size / count),
    ...(main !== undefined && { mainLoss: main, loss: main + (mtp ?? 0) + (r.relation?.item() ?? 0) }),
    ...(mtp !== undefined && { mtpLoss: mtp / inputs.mtpWeight! }),
    ...(r.mtpLogits && { mtpLogits: r.mtpLogits.read() }),
    ...(r.relationLogits && { relationLogits: r.relationLogits.read() }),
    ...(r.newMems && { newMems: r.newMems }),
  };
}

function zeroPadding(values: Float32Array, mask: Int32Array | undefined, width: number): Float32Array {
  mask?.forEach((m, r) => {
    if (!m) values.fill(0, r * width, (r + 1) * width);
  });
  return values;
}

function gradientsOf(model: Model): Map<string, { shape: readonly number[]; values: Float32Array }> {
  const none = (t: Tensor) => scope(() => zeros(t.shape, { device: t.device }).read());
  const tensors = hubTensors(model, (t) => t.gradient?.value(t.shape)?.read() ?? none(t));
  return new Map(tensors.filter((t) => !t.f32).map((t) => [t.name, { shape: t.shape, values: t.values() }]));
}
