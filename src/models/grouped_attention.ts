import type { AttendConfig } from '../nn/attend.js';
import type { Param } from '../nn/param.js';
import { type CacheShape, type HubPiece, rowsPiece, wholePiece } from './family.js';

/** Attention whose query heads share key heads in groups, as its families' configurations spell it. arXiv:2305.13245. */
export interface GroupedAttention {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyHeads: number; // divides heads
  readonly headSize: number;
}

export const attendConfig = (c: GroupedAttention): AttendConfig => ({
  hidden: c.hidden,
  heads: c.heads,
  keyHeads: c.keyHeads,
  headSize: c.headSize,
  scale: c.headSize ** -0.5,
});

export const cacheShape = (c: GroupedAttention): CacheShape => ({
  key: [c.keyHeads, c.headSize],
  value: [c.keyHeads, c.headSize],
});

export const attentionWidth = (c: GroupedAttention): number => c.layers * c.heads * 2 * c.headSize;

/** The heads that a config.json describes; key heads and the size of a head may be left to follow from the others. */
export function headsFromHub(h: Readonly<Record<string, unknown>>) {
  const [heads, hidden] = [Number(h.num_attention_heads), Number(h.hidden_size)];
  return {
    hidden,
    heads,
    keyHeads: Number(h.num_key_value_heads ?? heads),
    headSize: Number(h.head_dim ?? hidden / heads),
  };
}

export const headsToHub = (c: GroupedAttention) => ({
  hidden_size: c.hidden,
  num_attention_heads: c.heads,
  num_key_value_heads: c.keyHeads,
  head_dim: c.headSize,
});

/** Names on disk of its parameters, qkv and out, in the layer called `at`. */
export function attendPieces(c: GroupedAttention, at: string, name: string, p: Param): readonly HubPiece[] {
  if (name === 'out') return wholePiece(`${at}.self_attn.o_proj.weight`, p);
  const [q, kv] = [c.heads * c.headSize, c.keyHeads * c.headSize];
  return [
    rowsPiece(`${at}.self_attn.q_proj.weight`, p, 0, q),
    rowsPiece(`${at}.self_attn.k_proj.weight`, p, q, kv),
    rowsPiece(`${at}.self_attn.v_proj.weight`, p, q + kv, kv),
  ];
}
