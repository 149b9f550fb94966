import type { MaskOptions, TokenStream } from '../data/index.js';
import { TrainMoeError } from '../errors.js';
import { contextOf, type Model } from '../models/family.js';
import { type Device, noGrad, tagged } from '../tensor/index.js';
import { languageModelLoss } from './loss.js';
import { openBatches } from './masking.js';

/** Loss on text that was held back. */
export interface Evaluation {
  /** Mean loss of next tokens, of an encoder's hidden tokens, in nats. */
  readonly loss: number;
  /** log2 of the likelihood per byte of text, which compares across vocabularies; undefined when bytes are not known. */
  readonly bitsPerByte: number | undefined;
  /** Targets that were counted. */
  readonly tokens: number;
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
  /** How an encoder's words are hidden: maskingOf(). */
  readonly masking?: MaskOptions | undefined;
}

/**
 * Loss on the first windows of a split, always the same ones. Undefined when the split holds no window.
 * @throws TrainMoeError `bad-argument` when windows are longer than the model reads
 */
export function evaluate(model: Model, split: TokenStream, o: EvaluateOptions): Evaluation | undefined {
  if (split.tokens < 2) return undefined;
  const context = contextOf(model);
  if (o.length > context)
    throw new TrainMoeError(
      'bad-argument',
      `The windows have a length of ${o.length} tokens, but the model reads ${context}; make them shorter.`,
    );
  if (model.family.encoder && !o.masking)
    throw new TrainMoeError('bad-argument', 'An encoder is scored on words that are hidden from it; give `masking`.');
  const source = openBatches(
    {
      shards: split,
      rows: o.rows,
      length: o.length,
      packing: o.packing,
      order: 'sequential',
      epochs: 1,
    },
    o.masking,
  );
  let loss = 0;
  let tokens = 0;
  let bytes = 0;
  for (let done = 0; done < o.windows; ) {
    const { value: batch } = source.next(Math.min(o.rows, o.windows - done));
    if (!batch) break;
    const lossOf = () => languageModelLoss(model, batch, { device: o.device, trainedTokens: 1 }).main.item();
    loss += tagged('activations', () => noGrad(lossOf));
    tokens += batch.trainedTokens;
    bytes += batch.bytes;
    done += batch.rows;
  }
  return { loss: loss / tokens, bitsPerByte: bytes > 0 ? loss / Math.LN2 / bytes : undefined, tokens };
}
