import { TrainMoeError } from '../../errors.js';
import type { DeepseekConfig } from '../deepseek.js';
import {
  type Architecture,
  type Change,
  expertSizesOf,
  f32,
  insideLayer,
  type Place,
  placeFeed,
  placeOutside,
  refuseWithoutShared,
  sizesOf,
  u32,
} from './layout.js';

/** DeepSeek-V2 and V3: keys and values are read from the latent, whose up-projection is cut in two for it. */
export const deepseekLayout =
  (gate: 'softmax' | 'sigmoid') =>
  (c: DeepseekConfig): Architecture => {
    refuseUnknown(c, gate);
    return {
      name: 'deepseek2',
      settings: {
        ...sizesOf(c),
        ...attention(c),
        ...expertSizesOf(c),
        expert_group_count: u32(c.groups),
        expert_group_used_count: u32(c.topGroups),
        expert_weights_scale: f32(c.routedScale),
        expert_weights_norm: { type: 'bool', value: c.normalize },
        expert_gating_func: u32(gate === 'sigmoid' ? 2 : 1),
        ...rope(c),
      },
      place: (name) => {
        const at = insideLayer(name);
        if (!at) return placeOutside(name);
        if (at.layer >= c.layers) return []; // the module that predicts a further token
        return placeInside(at.rest, c).map((place) => ({ ...place, name: `blk.${at.layer}.${place.name}` }));
      },
    };
  };

/** Layers of V2-Lite, by which llama.cpp knows that queries are not compressed. */
const LITE = 27;

/** @throws TrainMoeError `bad-config` of what llama.cpp would compute otherwise, or not load */
function refuseUnknown(c: DeepseekConfig, gate: 'softmax' | 'sigmoid'): void {
  if (c.queryRank === null && c.layers !== LITE)
    throw new TrainMoeError(
      'bad-config',
      `llama.cpp reads models whose queries are not compressed with ${LITE} layers only (V2-Lite), and this one has ${c.layers}; it cannot be written as GGUF.`,
    );
  refuseWithoutShared(c);
  const { yarn } = c.rope;
  if (yarn && (yarn.mscale !== yarn.mscaleAllDim || yarn.mscale === 0))
    throw new TrainMoeError(
      'bad-config',
      `llama.cpp reads a stretched context (YaRN) whose mscale and mscale_all_dim are the same and not 0, and this model has ${yarn.mscale} and ${yarn.mscaleAllDim}; it cannot be written as GGUF.`,
    );
  if (gate === 'softmax' && c.groups > 1)
    throw new TrainMoeError(
      'bad-config',
      `llama.cpp chooses groups of experts as DeepSeek-V3 does, not by their best expert as this model (groups = ${c.groups}); it cannot be written as GGUF.`,
    );
}

/** One key head: the latent with the shared rotary channels. Sizes of a head once it is expanded have names of their own. */
const attention = (c: DeepseekConfig) => ({
  'attention.head_count_kv': u32(1),
  'attention.kv_lora_rank': u32(c.kvRank),
  ...(c.queryRank !== null && { 'attention.q_lora_rank': u32(c.queryRank) }),
  'attention.key_length': u32(c.kvRank + c.ropeSize),
  'attention.value_length': u32(c.kvRank),
  'attention.key_length_mla': u32(c.nope + c.ropeSize),
  'attention.value_length_mla': u32(c.value),
});

function rope({ rope: { yarn }, ropeSize }: DeepseekConfig) {
  return {
    'rope.dimension_count': u32(ropeSize),
    ...(yarn && {
      'rope.scaling.type': { type: 'string', value: 'yarn' } as const,
      'rope.scaling.factor': f32(yarn.factor),
      'rope.scaling.original_context_length': u32(yarn.original),
      'rope.scaling.yarn_beta_fast': f32(yarn.betaFast),
      'rope.scaling.yarn_beta_slow': f32(yarn.betaSlow),
      'rope.scaling.yarn_log_multiplier': f32(0.1 * yarn.mscaleAllDim),
    }),
  };
}

function placeInside(rest: string, c: DeepseekConfig): readonly Place[] {
  const known: Readonly<Record<string, readonly Place[]>> = {
    'input_layernorm.weight': [{ name: 'attn_norm.weight', f32: true }],
    'post_attention_layernorm.weight': [{ name: 'ffn_norm.weight', f32: true }],
    'self_attn.q_proj.weight': [{ name: 'attn_q.weight' }],
    'self_attn.q_a_proj.weight': [{ name: 'attn_q_a.weight' }],
    'self_attn.q_a_layernorm.weight': [{ name: 'attn_q_a_norm.weight', f32: true }],
    'self_attn.q_b_proj.weight': [{ name: 'attn_q_b.weight' }],
    'self_attn.kv_a_proj_with_mqa.weight': [{ name: 'attn_kv_a_mqa.weight' }],
    'self_attn.kv_a_layernorm.weight': [{ name: 'attn_kv_a_norm.weight', f32: true }],
    'self_attn.kv_b_proj.weight': [
      { name: 'attn_k_b.weight', change: keysOf(c) },
      { name: 'attn_v_b.weight', change: valuesOf(c) },
    ],
    'self_attn.o_proj.weight': [{ name: 'attn_output.weight' }],
  };
  const feed = placeFeed(rest, c.experts);
  return known[rest] ?? (feed ? [feed] : []);
}

/** kv_b is [H * (nope + value), rank]: the keys' part of each head, transposed, [H, rank, nope]. */
const keysOf = ({ heads, nope, value, kvRank }: DeepseekConfig): Change => ({
  shape: [heads, kvRank, nope],
  values(values) {
    const out = new Float32Array(heads * kvRank * nope);
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < nope; i++)
        for (let r = 0; r < kvRank; r++)
          out[(h * kvRank + r) * nope + i] = values[(h * (nope + value) + i) * kvRank + r]!;
    return out;
  },
});

/** The values' part of each head, [H, value, rank]. */
const valuesOf = ({ heads, nope, value, kvRank }: DeepseekConfig): Change => ({
  shape: [heads, value, kvRank],
  values(values) {
    const part = value * kvRank;
    const out = new Float32Array(heads * part);
    for (let h = 0; h < heads; h++) {
      const from = (h * (nope + value) + nope) * kvRank;
      out.set(values.subarray(from, from + part), h * part);
    }
    return out;
  },
});
