import { TrainMoeError } from '../errors.js';
import { type Family, logitsOf, type Model, whyMute } from '../models/family.js';
import { makeLayout } from '../nn/layout.js';
import { gather } from '../ops/gather.js';
import { from, noGrad, scope } from '../tensor/index.js';

/** A token that may stand where another is hidden. */
export interface Filling {
  readonly id: number;
  /** Of all tokens. */
  readonly probability: number;
}

/**
 * What fills in the words of a family.
 * @throws TrainMoeError `bad-argument` of one that is no encoder
 */
export function encoderOf(family: Family): NonNullable<Family['encoder']> {
  if (family.encoder) return family.encoder;
  throw new TrainMoeError(
    'bad-argument',
    `This is ${whyMute(family) ?? `a ${family.name} model, which writes what comes next`}; give an encoder such as bert or roberta.`,
  );
}

/**
 * What an encoder takes to be hidden behind each mask of a sequence: the likeliest tokens, in their order, one list a mask.
 * @param ids of one sequence [T], with its first and last special tokens
 * @throws TrainMoeError `bad-argument` when the model is no encoder, reads fewer tokens, or nothing is masked
 */
export function fillMask(
  model: Model,
  ids: ArrayLike<number>,
  { maskId, top = 5 }: { readonly maskId: number; readonly top?: number },
): Filling[][] {
  const { family, config, weights } = model;
  const encoder = encoderOf(family);
  const tokens = Int32Array.from(ids);
  const length = tokens.length;
  const { context } = config as { readonly context: number };
  if (length > context)
    throw new TrainMoeError('bad-argument', `The text has ${length} tokens, but this model reads ${context}.`);
  const masks = Int32Array.from([...tokens.keys()].filter((i) => tokens[i] === maskId));
  if (masks.length === 0)
    throw new TrainMoeError('bad-argument', 'The ids hide nothing; put the mask where a token is to be filled in.');
  const { device } = family.head(weights).weight;
  const logits = scope(() =>
    noGrad(() => {
      const positions = family.positions?.(config, tokens, length);
      const layout = makeLayout({ rows: 1, length, causal: false, device, ...(positions && { positions }) });
      const hidden = family.forward(weights, config, from(tokens, [length], { device }), { layout, losses: [] });
      const read = encoder.transform(weights, config, gather(hidden, from(masks, [masks.length], { device })));
      return logitsOf(model, read).read(); // [masks,V]
    }),
  );
  const width = logits.length / masks.length;
  return Array.from(masks, (_, i) => likeliest(logits.subarray(i * width, (i + 1) * width), top));
}

/** The largest of softmax(logits). */
function likeliest(logits: Float32Array, top: number): Filling[] {
  const most = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const sum = logits.reduce((total, x) => total + Math.exp(x - most), 0);
  return [...logits.keys()]
    .sort((a, b) => logits[b]! - logits[a]!)
    .slice(0, top)
    .map((id) => ({ id, probability: Math.exp(logits[id]! - most) / sum }));
}
