import { type Batch, permutedWindows, type TokenStream } from '../data/index.js';
import { TrainMoeError } from '../errors.js';
import { contextOf, type Model } from '../models/family.js';
import type { Communicator } from '../parallel/index.js';
import { type Device, noGrad, tagged } from '../tensor/index.js';
import { cutBatch, languageModelLoss } from './loss.js';
import { type SegmentMemory, segmentMemory } from './memory.js';
import { type Objective, openBatches } from './objective.js';
import { allSummed } from './ranks/agree.js';

/** Loss on text that was held back. */
export interface Evaluation {
  /** Mean loss of next tokens, or of those that are hidden or predicted in any order, in nats. */
  readonly loss: number;
  /** log2 of the likelihood per byte of text, which compares across vocabularies; undefined when bytes are not known. */
  readonly bitsPerByte: number | undefined;
  /** Targets that were counted. */
  readonly tokens: number;
  /** Where the model judges pairs of texts. */
  readonly relation?: RelationScore | undefined;
}

/** How well a model says how pairs of texts belong together. */
export interface RelationScore {
  /** Mean, in nats. */
  readonly loss: number;
  /** Share of the pairs that are judged right. */
  readonly accuracy: number;
  readonly pairs: number;
}

/** How much text is read, and how. */
export interface EvaluateOptions {
  /** That of the model. */
  readonly device: Device;
  /** Windows of a pass. */
  readonly rows: number;
  /** Tokens of a window. */
  readonly length: number;
  /** At most. */
  readonly windows: number;
  /** Whether attention crosses documents: as in training. */
  readonly packing: 'stream' | 'documents';
  /** What is predicted, other than the next token: objectiveOf(). */
  readonly objective?: Objective | undefined;
  /** Those that share the windows; all make the call and get the same. */
  readonly ranks?: Communicator | undefined;
}

/**
 * Loss on the first windows of a split, always the same ones. Undefined when the split holds no window.
 * @throws TrainMoeError `bad-argument` when windows are longer than the model reads, or its objective is not given
 */
export function evaluate(model: Model, split: TokenStream, o: EvaluateOptions): Evaluation | undefined {
  if (split.tokens < 2) return undefined;
  const context = contextOf(model);
  if (o.length > context)
    throw new TrainMoeError(
      'bad-argument',
      `The windows have a length of ${o.length} tokens, but the model reads ${context}; make them shorter.`,
    );
  const { family } = model;
  if (!o.objective && (family.encoder || family.recurrence))
    throw new TrainMoeError(
      'bad-argument',
      `A model of the family ${family.name} is scored on words that are hidden from it; give its \`objective\`.`,
    );
  return o.objective?.kind === 'permuted' ? scoreLanes(model, split, o, o.objective) : scoreWindows(model, split, o);
}

/** Sums over batches. */
interface Sums {
  loss: number;
  tokens: number;
  bytes: number;
  readonly relation: { loss: number; right: number; pairs: number };
}

const noSums = (): Sums => ({ loss: 0, tokens: 0, bytes: 0, relation: { loss: 0, right: 0, pairs: 0 } });

const meanOf = ({ loss, tokens, bytes, relation: { pairs, ...of } }: Sums): Evaluation => ({
  loss: loss / tokens,
  bitsPerByte: bytes > 0 ? loss / Math.LN2 / bytes : undefined,
  tokens,
  ...(pairs > 0 && { relation: { loss: of.loss / pairs, accuracy: of.right / pairs, pairs } }),
});

/** Those of all ranks. */
function over(ranks: Communicator, { loss, tokens, bytes, relation: r }: Sums): Sums {
  const own = [loss, tokens, bytes, r.loss, r.right, r.pairs];
  const [all, count, size, ...of] = allSummed(ranks, own, 'loss on held-out text') as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return { loss: all, tokens: count, bytes: size, relation: { loss: of[0], right: of[1], pairs: of[2] } };
}

function scoreWindows(model: Model, split: TokenStream, o: EvaluateOptions): Evaluation {
  const { device, rows, length, packing, ranks } = o;
  const source = openBatches({ shards: split, rows, length, packing, order: 'sequential', epochs: 1 }, o.objective);
  const sums = noSums();
  for (let done = 0, pass = 0; done < o.windows; pass++) {
    const { value: batch } = source.next(Math.min(rows, o.windows - done));
    if (!batch) break;
    done += batch.rows;
    if (!ranks || pass % ranks.size === ranks.rank) score(model, batch, { device }, sums);
  }
  return meanOf(ranks ? over(ranks, sums) : sums);
}

/** Parts of a text that are read side by side, each with its memory: as many however many rows a pass has. */
const LANES = 8;

/** The same of models that remember: rows go on where they were, forwards. */
function scoreLanes(
  model: Model,
  split: TokenStream,
  { device, rows, length, windows }: EvaluateOptions,
  { permuting }: Objective & { readonly kind: 'permuted' },
): Evaluation {
  const lanes = Math.min(LANES, windows, permutedWindows(split.tokens, length, permuting.reuse));
  const source = openBatches(
    { shards: split, rows: lanes, length, order: 'sequential', epochs: 1 },
    { kind: 'permuted', permuting: { ...permuting, reversed: false } },
  );
  const memory = segmentMemory(model, lanes, length, device);
  const sums = noSums();
  try {
    for (let done = 0; done + lanes <= windows; done += lanes) {
      const { value: batch } = source.next();
      if (!batch) break;
      for (let firstRow = 0; firstRow < lanes; firstRow += rows)
        score(model, cutBatch(batch, firstRow, Math.min(lanes, firstRow + rows)), { device, memory, firstRow }, sums);
    }
    return meanOf(sums);
  } finally {
    for (const layer of memory?.layers ?? []) layer.dispose();
  }
}

interface Place {
  readonly device: Device;
  readonly memory?: SegmentMemory | undefined;
  readonly firstRow?: number;
}

function score(model: Model, batch: Batch, place: Place, sums: Sums): void {
  const add = () => {
    const l = languageModelLoss(model, batch, { ...place, trainedTokens: 1, stepRows: 1 });
    l.remember?.();
    sums.loss += l.main.item();
    if (!l.relation || !l.relationLogits) return;
    const logits = l.relationLogits.read();
    sums.relation.loss += l.relation.item();
    sums.relation.right += batch.relations!.filter(
      (label, r) => logits[2 * r + label]! > logits[2 * r + 1 - label]!,
    ).length;
    sums.relation.pairs += batch.rows;
  };
  tagged('activations', () => noGrad(add));
  sums.tokens += batch.trainedTokens;
  sums.bytes += batch.bytes;
}
