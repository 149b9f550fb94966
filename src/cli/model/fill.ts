import { TrainMoeError } from '../../errors.js';
import { encoderOf, type Filling, fillMask } from '../../generate/fill.js';
import { maskIdOf } from '../../train/masking.js';
import { type ModelOptions, openModel, openTextTokenizer, refuseLarger } from './open.js';

/** A token with its text. */
export type FilledText = Filling & { readonly text: string };

/**
 * What an encoder finds behind each mask of a text.
 * @throws TrainMoeError `bad-argument` when the model is no encoder or the text hides nothing
 */
export function fillText(options: ModelOptions & { readonly text: string; readonly top: number }): FilledText[][] {
  if (!Number.isInteger(options.top) || options.top < 1)
    throw new TrainMoeError('bad-argument', `--top is ${options.top}; it must be a whole number of at least 1.`);
  const tokenizer = openTextTokenizer(options);
  const { model } = openModel(options);
  encoderOf(model.family);
  refuseLarger(tokenizer, model, options);
  const maskId = maskIdOf(tokenizer);
  const allowSpecial = new Set([tokenizer.tokenOf(maskId)]);
  const { ids } = tokenizer.withSpecials(tokenizer.encode(options.text, { allowSpecial }));
  if (!ids.includes(maskId))
    throw new TrainMoeError(
      'bad-argument',
      `The text hides nothing; write ${tokenizer.tokenOf(maskId)} where a word is to be filled in.`,
    );
  return fillMask(model, ids, { maskId, top: options.top }).map((found) =>
    found.map((filling) => ({ ...filling, text: tokenizer.decode([filling.id], { skipUnknown: true }) })),
  );
}
