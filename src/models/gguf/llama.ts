import { TrainMoeError } from '../../errors.js';
import type { DeepseekMoeConfig } from '../deepseek_moe.js';
import type { LlamaConfig } from '../llama.js';
import {
  type Architecture,
  expertSizesOf,
  f32,
  insideLayer,
  interleaved,
  type Place,
  placeFeed,
  placeOutside,
  refuseWithoutShared,
  sizesOf,
  u32,
} from './layout.js';

/** Dense models of grouped attention. */
export const llamaLayout = (c: LlamaConfig): Architecture => ({
  name: 'llama',
  settings: attention(c),
  place: places(c, 0),
});

/** DeepSeekMoE: the same attention, and experts. */
export const deepseekMoeLayout = (c: DeepseekMoeConfig): Architecture => {
  refuseWithoutShared(c);
  if (c.normalize)
    throw new TrainMoeError(
      'bad-config',
      "llama.cpp's deepseek models do not normalise the weights of the chosen experts, as this one does; it cannot be written as GGUF.",
    );
  return {
    name: 'deepseek',
    settings: {
      ...attention(c),
      ...expertSizesOf(c),
      expert_weights_scale: f32(1),
    },
    place: places(c, c.experts),
  };
};

type Shared = Omit<LlamaConfig, 'deviation'>;

function attention(c: Shared) {
  if (c.rope.yarn)
    throw new TrainMoeError(
      'bad-config',
      'A stretched context (YaRN) of this kind of model cannot be written as GGUF yet.',
    );
  return {
    ...sizesOf(c),
    'attention.head_count_kv': u32(c.keyHeads),
    'attention.key_length': u32(c.headSize),
    'attention.value_length': u32(c.headSize),
    'rope.dimension_count': u32(c.headSize),
  };
}

const places =
  (c: Shared, experts: number) =>
  (name: string): readonly Place[] => {
    const at = insideLayer(name);
    if (!at) return placeOutside(name);
    const known: Readonly<Record<string, Place>> = {
      'input_layernorm.weight': { name: 'attn_norm.weight', f32: true },
      'post_attention_layernorm.weight': { name: 'ffn_norm.weight', f32: true },
      'self_attn.q_proj.weight': { name: 'attn_q.weight', change: interleaved(c.heads) },
      'self_attn.k_proj.weight': { name: 'attn_k.weight', change: interleaved(c.keyHeads) },
      'self_attn.v_proj.weight': { name: 'attn_v.weight' },
      'self_attn.o_proj.weight': { name: 'attn_output.weight' },
    };
    const place = known[at.rest] ?? placeFeed(at.rest, experts);
    return place ? [{ ...place, name: `blk.${at.layer}.${place.name}` }] : [];
  };
