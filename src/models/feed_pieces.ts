import type { Param } from '../nn/param.js';
import { expertPieces, type HubPiece, rowsPiece, wholePiece } from './family.js';

/** The widths that feed-forward layers have, dense and routed. */
interface FeedWidths {
  readonly inner: number;
  readonly expertInner: number;
  readonly shared: number;
}

/** Names on disk of a parameter of a feed-forward layer, dense or routed: the same in all DeepSeek generations. */
export function feedPieces(c: FeedWidths, at: string, path: string, p: Param): readonly HubPiece[] {
  const [name, inside] = path.split('.') as [string, string | undefined];
  if (name === 'router') return wholePiece(`${at}.mlp.gate.weight`, p);
  if (name === 'bias') return wholePiece(`${at}.mlp.gate.e_score_correction_bias`, p);
  if (name === 'shared') return swigluPieces(`${at}.mlp.shared_experts`, inside!, c.shared * c.expertInner, p);
  if (p.shape.length === 3)
    return expertPieces(`${at}.mlp.experts`, name === 'gateUp' ? ['gate_proj', 'up_proj'] : ['down_proj'], p);
  return swigluPieces(`${at}.mlp`, name, c.inner, p);
}

/** Names on disk of a SwiGLU layer's two parameters: gate and up are apart there. */
export function swigluPieces(prefix: string, part: string, inner: number, p: Param): readonly HubPiece[] {
  if (part === 'down') return wholePiece(`${prefix}.down_proj.weight`, p);
  return [rowsPiece(`${prefix}.gate_proj.weight`, p, 0, inner), rowsPiece(`${prefix}.up_proj.weight`, p, inner, inner)];
}
