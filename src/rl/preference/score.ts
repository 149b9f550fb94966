import { logitsOf, type Model } from '../../models/family.js';
import { makeLayout } from '../../nn/layout.js';
import { type Device, from, noGrad, type Tensor, tagged } from '../../tensor/index.js';
import { cutByTokens, type PackedTexts, packTexts, type Text } from './pack.js';

/** Scores of a packed batch under a model of a scoring family, one per token: [T,1] f32. Differentiable. */
export function forwardScores(model: Model, packed: PackedTexts, device: Device, recompute = false): Tensor {
  const length = packed.ids.length;
  const { documentStart } = packed;
  const layout = makeLayout({ rows: 1, length, causal: true, documentStart, device });
  const ids = from(packed.ids, [length], { device });
  const hidden = model.family.forward(model.weights, model.config, ids, { layout, losses: [], recompute }); // [T,C]
  return logitsOf(model, hidden);
}

/** The score of each text, read at its last token, without gradients. */
export function scoreTexts(model: Model, texts: readonly Text[], device: Device, rowsAtOnce: number): Float64Array {
  const scores: number[] = [];
  for (const part of cutByTokens(texts, ({ ids }) => ids.length, rowsAtOnce)) {
    const packed = packTexts(part);
    const all = tagged('activations', () => noGrad(() => forwardScores(model, packed, device).read()));
    for (const row of packed.last) scores.push(all[row]!);
  }
  return Float64Array.from(scores);
}
