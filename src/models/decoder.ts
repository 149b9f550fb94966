import { matrix, type Param, vector } from '../nn/param.js';
import { type HubPiece, inLayer, wholePiece } from './family.js';

/** What a decoder has around its blocks. */
export interface DecoderConfig {
  readonly vocabulary: number;
  readonly hidden: number;
  readonly tied: boolean; // the head is the embedding
  readonly deviation: number; // of the initial weights
}

/** embed [V,C], the layers, the final norm [C], and a head [V,C] where it is not the embedding. */
export const decoderSpec = <B>(c: DecoderConfig, layers: readonly B[]) => ({
  embed: matrix([c.vocabulary, c.hidden], c.deviation, 'vocabulary'),
  layers,
  norm: vector(c.hidden, 1),
  head: c.tied ? undefined : matrix([c.vocabulary, c.hidden], c.deviation, 'vocabulary'),
});

/**
 * Names on disk of a decoder's parameter. `inBlock` gives those of a block's: `at` is what its layer is called there, `rest`
 * the parameter's path in it. All families here agree on the two norms of a block.
 */
export function decoderPieces(
  path: string,
  p: Param,
  inBlock: (at: string, rest: string) => readonly HubPiece[],
): readonly HubPiece[] {
  if (path === 'embed') return wholePiece('model.embed_tokens.weight', p);
  if (path === 'norm') return wholePiece('model.norm.weight', p);
  if (path === 'head') return wholePiece('lm_head.weight', p);
  const [layer, rest] = inLayer(path)!;
  return blockPieces(`model.layers.${layer}`, rest, p, inBlock);
}

/** The same of a block whose layer is called `at`. */
export function blockPieces(
  at: string,
  rest: string,
  p: Param,
  inBlock: (at: string, rest: string) => readonly HubPiece[],
): readonly HubPiece[] {
  if (rest === 'attendNorm') return wholePiece(`${at}.input_layernorm.weight`, p);
  if (rest === 'feedNorm') return wholePiece(`${at}.post_attention_layernorm.weight`, p);
  return inBlock(at, rest);
}
