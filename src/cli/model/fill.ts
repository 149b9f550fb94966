import { TrainMoeError } from '../../errors.js';
import { type Filling, fillMask } from '../../generate/index.js';
import { maskIdOf } from '../../train/masking.js';
import { type ModelOptions, openModel, openTokenizer } from './open.js';

/** A token with its text. */
export type FilledText = Filling & { readonly text: string };

/**
 * What an encoder finds behind each mask of a text.
 * @throws TrainMoeError `bad-argument` when the model is no encoder or the text hides nothing
 */
export function fillText(options: ModelOptions & { readonly text: string; readonly top: number }): FilledText[][] {
  if (!Number.isInteger(options.top) || options.top < 1)
    throw new TrainMoeError('bad-argument', `--top is ${options.top}; it must be a whole number of at least 1.`);
  const tokenizer = openTokenizer(options);
  const { model } = openModel(options);
  const maskId = maskIdOf(tokenizer);
  const mask = tokenizer.tokenOf(maskId)!;
  // A word takes the space before it along, so that none is left before a hidden one.
  const text = options.text.replaceAll(` ${mask}`, mask);
  const ends = [tokenizer.bosId, tokenizer.eosId].map((id) => (id === undefined ? [] : [id]));
  const ids = [...ends[0]!, ...tokenizer.encode(text, { allowSpecial: new Set([mask]) }), ...ends[1]!];
  return fillMask(model, ids, { maskId, top: options.top }).map((found) =>
    found.map((filling) => ({ ...filling, text: tokenizer.decode([filling.id], { skipUnknown: true }) })),
  );
}
