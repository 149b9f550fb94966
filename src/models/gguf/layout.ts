import { TrainMoeError } from '../../errors.js';
import type { GgufValue } from '../../hub/gguf/write.js';
import type { DeepseekMoeConfig } from '../deepseek_moe.js';
import type { LlamaConfig } from '../llama.js';

/** What llama.cpp calls a kind of model, its settings, and where its tensors come from. */
export interface Architecture {
  readonly name: string;
  /** Settings behind `<name>.`. */
  readonly settings: Readonly<Record<string, GgufValue>>;
  /** What becomes of a tensor of a Hugging Face folder; nothing of one that is left out. */
  place(hubName: string): readonly Place[];
}

/** One tensor of the file, or one expert's part of it. */
export interface Place {
  readonly name: string;
  /** The tensor holds so many experts, one behind the other in their order; this is the part of one. */
  readonly experts?: number;
  /** Always f32: vectors and routers, which readers expect so. */
  readonly f32?: boolean;
  /** The values in another order, or a part of them; as they are without it. */
  readonly change?: Change;
}

/** Other values made of those of a tensor, and their shape where it is another. */
export interface Change {
  readonly shape?: readonly number[];
  values(values: Float32Array, shape: readonly number[]): Float32Array;
}

/** The architecture of a model of one family. */
export type Describe = (config: never) => Architecture;

export const u32 = (value: number): GgufValue => ({ type: 'u32', value });
export const f32 = (value: number): GgufValue => ({ type: 'f32', value });

/** Settings that all kinds have. */
export const sizesOf = (c: Omit<LlamaConfig, 'keyHeads' | 'headSize' | 'deviation'>) => ({
  block_count: u32(c.layers),
  context_length: u32(c.context),
  embedding_length: u32(c.hidden),
  feed_forward_length: u32(c.inner),
  vocab_size: u32(c.vocabulary),
  'attention.head_count': u32(c.heads),
  'attention.layer_norm_rms_epsilon': f32(c.eps),
  'rope.freq_base': f32(c.rope.theta),
});

/** Those of all that have experts. */
export const expertSizesOf = (
  c: Pick<DeepseekMoeConfig, 'denseLayers' | 'expertInner' | 'experts' | 'active' | 'shared'>,
) => ({
  leading_dense_block_count: u32(c.denseLayers),
  expert_feed_forward_length: u32(c.expertInner),
  expert_count: u32(c.experts),
  expert_used_count: u32(c.active),
  expert_shared_count: u32(c.shared),
});

/** Layer and rest of a name such as `model.layers.3.mlp.up_proj.weight`. */
export function insideLayer(name: string): { readonly layer: number; readonly rest: string } | undefined {
  const match = /^model\.layers\.(\d+)\.(.+)$/.exec(name);
  return match ? { layer: Number(match[1]), rest: match[2]! } : undefined;
}

/** Tensors outside the layers, which all have in common. */
export function placeOutside(name: string): readonly Place[] {
  switch (name) {
    case 'model.embed_tokens.weight':
      return [{ name: 'token_embd.weight' }];
    case 'model.norm.weight':
      return [{ name: 'output_norm.weight', f32: true }];
    case 'lm_head.weight':
      return [{ name: 'output.weight' }];
    default:
      return [];
  }
}

/**
 * Rows of a projection to heads with the two halves of each head interleaved. Hugging Face rotates channel i with i + half,
 * llama.cpp 2i with 2i + 1.
 */
export const interleaved = (heads: number): Change => ({
  values(values, [rows = 0, columns = 0]) {
    const size = rows / heads;
    const out = new Float32Array(values.length);
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < size; i++) {
        const from = h * size + (i % 2) * (size / 2) + Math.floor(i / 2);
        out.set(values.subarray(from * columns, (from + 1) * columns), (h * size + i) * columns);
      }
    return out;
  },
});

/** Names of a layer's feed-forward part, dense or of experts. */
export function placeFeed(rest: string, experts: number): Place | undefined {
  const dense = /^mlp\.(gate|up|down)_proj\.weight$/.exec(rest);
  if (dense) return { name: `ffn_${dense[1]}.weight` };
  const shared = /^mlp\.shared_experts\.(gate|up|down)_proj\.weight$/.exec(rest);
  if (shared) return { name: `ffn_${shared[1]}_shexp.weight` };
  const routed = /^mlp\.experts\.(\d+)\.(gate|up|down)_proj\.weight$/.exec(rest);
  if (routed) return { name: `ffn_${routed[2]}_exps.weight`, experts };
  if (rest === 'mlp.gate.weight') return { name: 'ffn_gate_inp.weight', f32: true };
  if (rest === 'mlp.gate.e_score_correction_bias') return { name: 'exp_probs_b.bias', f32: true };
  return undefined;
}

/** @throws TrainMoeError `bad-config` of routed experts with no shared one beside them, which llama.cpp insists on */
export function refuseWithoutShared(c: {
  readonly shared: number;
  readonly layers: number;
  readonly denseLayers: number;
}): void {
  if (c.shared > 0 || c.layers <= c.denseLayers) return;
  throw new TrainMoeError(
    'bad-config',
    'llama.cpp reads such models with shared experts only, and this one has none; it cannot be written as GGUF.',
  );
}
