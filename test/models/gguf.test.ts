import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GGMLQuantizationType, gguf } from '@huggingface/gguf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { folderSink } from '../../src/hub/byte_sink.js';
import { encoded, type GgmlType } from '../../src/hub/gguf/types.js';
import { createModel, disposeModel, hubTensors } from '../../src/models/codec.js';
import { deepseekMoe } from '../../src/models/deepseek_moe.js';
import { deepseekV2 } from '../../src/models/deepseek_v2.js';
import { deepseekV3 } from '../../src/models/deepseek_v3.js';
import type { Family, Model } from '../../src/models/family.js';
import { type GgufWritten, writeModelGguf } from '../../src/models/gguf/index.js';
import { ggufTokens } from '../../src/models/gguf/tokens.js';
import { gpt2 } from '../../src/models/gpt2.js';
import { llama } from '../../src/models/llama.js';
import { device } from '../../src/tensor/index.js';
import { type Tokenizer, trainBpe } from '../../src/tokenizer/index.js';
import { Tokenizer as BpeTokenizer } from '../../src/tokenizer/tokenizer.js';
import { tinyHub } from '../tiny_models.js';

/* Where the weights of a model go in a GGUF file. That llama.cpp computes the same with them cannot be seen here. */

const folder = mkdtempSync(join(tmpdir(), 'train-moe-model-gguf-'));
let tokenizer: Tokenizer;
beforeAll(async () => {
  async function* texts() {
    yield 'one and two are three\n';
  }
  const specialTokens = ['<|bos|>', '<|eos|>'];
  tokenizer = await trainBpe(texts(), { vocabSize: 262, specialTokens, pattern: 'deepseek-v3' });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface File {
  readonly told: GgufWritten;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly types: ReadonlyMap<string, string>;
  /** Shape and values of a tensor that is f32. */
  values(name: string): { readonly shape: readonly number[]; readonly values: Float32Array };
  bytes(name: string, length: number): Uint8Array;
  readonly names: readonly string[];
}

async function written(model: Model, type: GgmlType = 'F32', template?: string): Promise<File> {
  const path = join(folder, 'model.gguf');
  let told: GgufWritten | undefined;
  folderSink(folder).file('model.gguf', (sink) => {
    told = writeModelGguf(sink, model, { type, name: 'tiny', tokenizer, template });
  });
  const file = readFileSync(path);
  const { metadata, tensorInfos, tensorDataOffset } = await gguf(path, { allowLocalFile: true });
  const infoOf = (name: string) => {
    const info = tensorInfos.find((found) => found.name === name);
    if (!info) throw new Error(`no ${name}; there are ${tensorInfos.map((found) => found.name)}`);
    return info;
  };
  const bytes = (name: string, length: number) => {
    const at = Number(tensorDataOffset + infoOf(name).offset);
    return new Uint8Array(file.subarray(at, at + length));
  };
  return {
    told: told!,
    settings: metadata as Record<string, unknown>,
    types: new Map(tensorInfos.map((info) => [info.name, GGMLQuantizationType[info.dtype]!])),
    names: tensorInfos.map((info) => info.name),
    bytes,
    values(name) {
      const shape = infoOf(name).shape.map(Number).toReversed();
      const size = shape.reduce((a, b) => a * b, 1);
      return { shape, values: new Float32Array(bytes(name, 4 * size).buffer) };
    },
  };
}

function modelOf(family: unknown, hub: Readonly<Record<string, unknown>>): Model {
  const one = family as Family;
  const config = one.fromHub({ ...hub, vocab_size: 264, max_position_embeddings: 128 });
  return createModel(one, config, { device: device('cpu'), dtype: 'f32', seed: 5 });
}

/** The weights as a Hugging Face folder has them. */
const hubOf = (model: Model) =>
  new Map(hubTensors(model).map(({ name, shape, values }) => [name, { shape, values: values().slice() }]));

const plainExperts = {
  ...{
    ...tinyHub('dense'),
    n_routed_experts: 4,
    num_experts_per_tok: 2,
    moe_intermediate_size: 8,
    n_shared_experts: 1,
  },
  first_k_dense_replace: 1,
};
const experts = { ...tinyHub('experts'), q_lora_rank: 12, num_hidden_layers: 3, first_k_dense_replace: 1 };

describe('a vocabulary as GGUF', () => {
  it('is refused when the model has fewer ids', () => {
    const { vocabSize } = tokenizer;
    expect(() => ggufTokens(tokenizer, vocabSize - 1, undefined)).toThrow(
      `has ${vocabSize} tokens, but the model only ${vocabSize - 1}; give the model's own.`,
    );
    expect(ggufTokens(tokenizer, vocabSize, undefined).known).toBe(true);
  });

  it('is not taken for known when its text is changed before it is cut', () => {
    const { parts } = tokenizer;
    for (const changed of [
      { ...parts, normalForms: ['NFC'] as const },
      { ...parts, preTokenizer: { ...parts.preTokenizer, prefixSpace: true } },
    ])
      expect(ggufTokens(new BpeTokenizer(changed), 262, undefined).known).toBe(false);
  });
});

describe('a dense model as GGUF', () => {
  const model = modelOf(llama, { ...tinyHub('dense'), num_attention_heads: 4, num_key_value_heads: 2 });
  const hub = hubOf(model);
  afterAll(() => disposeModel(model));

  it('tells its sizes', async () => {
    const { settings, told } = await written(model);
    expect(told).toEqual({ architecture: 'llama', knownCut: true, wider: 0 });
    expect(settings).toMatchObject({
      'general.architecture': 'llama',
      'general.name': 'tiny',
      'general.file_type': 0,
      'llama.block_count': 2,
      'llama.context_length': 128,
      'llama.embedding_length': 16,
      'llama.feed_forward_length': 32,
      'llama.attention.head_count': 4,
      'llama.attention.head_count_kv': 2,
      'llama.attention.key_length': 4,
      'llama.rope.dimension_count': 4,
      'llama.rope.freq_base': 10_000,
      'llama.vocab_size': 264,
    });
  });

  it('has the weights under their names, and those of queries and keys with the halves of a head interleaved', async () => {
    const { values, names } = await written(model);
    expect(names).toHaveLength(hub.size);
    for (const [ours, theirs] of [
      ['model.embed_tokens.weight', 'token_embd.weight'],
      ['model.norm.weight', 'output_norm.weight'],
      ['lm_head.weight', 'output.weight'],
      ['model.layers.1.input_layernorm.weight', 'blk.1.attn_norm.weight'],
      ['model.layers.1.post_attention_layernorm.weight', 'blk.1.ffn_norm.weight'],
      ['model.layers.0.self_attn.v_proj.weight', 'blk.0.attn_v.weight'],
      ['model.layers.0.self_attn.o_proj.weight', 'blk.0.attn_output.weight'],
      ['model.layers.1.mlp.gate_proj.weight', 'blk.1.ffn_gate.weight'],
      ['model.layers.1.mlp.up_proj.weight', 'blk.1.ffn_up.weight'],
      ['model.layers.1.mlp.down_proj.weight', 'blk.1.ffn_down.weight'],
    ] as const)
      expect(values(theirs), theirs).toEqual(hub.get(ours));
    for (const [name, heads] of [
      ['q', 4],
      ['k', 2],
    ] as const) {
      const { shape, values: from } = hub.get(`model.layers.1.self_attn.${name}_proj.weight`)!;
      const to = values(`blk.1.attn_${name}.weight`);
      expect(to.shape).toEqual(shape);
      const row = (matrix: Float32Array, i: number) => [...matrix.subarray(i * 16, (i + 1) * 16)];
      for (let h = 0; h < heads; h++)
        for (const [there, here] of [
          [0, 0],
          [1, 2],
          [2, 1],
          [3, 3],
        ] as const)
          expect(row(to.values, 4 * h + there)).toEqual(row(from, 4 * h + here));
    }
  });

  it('keeps vectors in f32 whatever the type, and is wider where rows are no whole blocks', async () => {
    const narrow = await written(model, 'BF16');
    expect(narrow.types.get('blk.0.attn_norm.weight')).toBe('F32');
    expect(narrow.types.get('blk.0.ffn_down.weight')).toBe('BF16');
    const eight = await written(model, 'Q8_0');
    expect(eight.types.get('blk.0.ffn_down.weight')).toBe('Q8_0'); // rows of 32
    expect(eight.types.get('blk.0.ffn_up.weight')).toBe('F16'); // rows of 16
    expect(eight.told.wider).toBeGreaterThan(0);
    const bytes = encoded(hub.get('model.layers.0.mlp.down_proj.weight')!.values, 'Q8_0');
    expect(eight.bytes('blk.0.ffn_down.weight', bytes.length)).toEqual(new Uint8Array(bytes));
  });

  it('brings its vocabulary and chat template', async () => {
    const { settings } = await written(model, 'F32', '{{ messages }}');
    const tokens = settings['tokenizer.ggml.tokens'] as string[];
    const kinds = settings['tokenizer.ggml.token_type'] as number[];
    expect(settings).toMatchObject({
      'tokenizer.ggml.model': 'gpt2',
      'tokenizer.ggml.pre': 'deepseek-v3',
      'tokenizer.chat_template': '{{ messages }}',
    });
    expect([tokens.length, kinds.length]).toEqual([264, 264]);
    for (const { id, content } of tokenizer.parts.added) expect([tokens[id], kinds[id]]).toEqual([content, 3]);
    expect(tokens.slice(tokenizer.vocabSize)).toEqual(
      Array.from({ length: 264 - tokenizer.vocabSize }, (_, i) => `[PAD${tokenizer.vocabSize + i}]`),
    );
    expect(new Set(kinds.slice(tokenizer.vocabSize))).toEqual(new Set([5]));
    const space = tokens.indexOf('Ġ');
    expect(tokenizer.decode([space])).toBe(' ');
    const merges = settings['tokenizer.ggml.merges'] as string[];
    expect(merges.length).toBeGreaterThan(0);
    for (const merge of merges) expect(tokens).toContain(merge.replace(' ', ''));
  });
});

describe('a model of experts as GGUF', () => {
  it('has latent attention cut in two, experts one behind the other, and no module of further tokens', async () => {
    const model = modelOf(deepseekV3, { ...experts, num_nextn_predict_layers: 1 });
    const hub = hubOf(model);
    const { values, names, settings, types } = await written(model, 'F32');
    expect(names.filter((name) => /^blk\.3\./.test(name))).toEqual([]);
    expect(settings).toMatchObject({
      'general.architecture': 'deepseek2',
      'deepseek2.leading_dense_block_count': 1,
      'deepseek2.attention.head_count_kv': 1,
      'deepseek2.attention.q_lora_rank': 12,
      'deepseek2.attention.kv_lora_rank': 8,
      'deepseek2.attention.key_length': 12,
      'deepseek2.attention.value_length': 8,
      'deepseek2.attention.key_length_mla': 12,
      'deepseek2.attention.value_length_mla': 8,
      'deepseek2.expert_count': 4,
      'deepseek2.expert_used_count': 2,
      'deepseek2.expert_gating_func': 2,
      'deepseek2.expert_weights_norm': true,
    });
    const up = hub.get('model.layers.2.self_attn.kv_b_proj.weight')!.values; // [2 * (8 + 8), 8]
    const [k, v] = [values('blk.2.attn_k_b.weight'), values('blk.2.attn_v_b.weight')];
    expect([k.shape, v.shape]).toEqual([
      [2, 8, 8],
      [2, 8, 8],
    ]);
    for (let h = 0; h < 2; h++)
      for (let i = 0; i < 8; i++)
        for (let r = 0; r < 8; r++) {
          expect(k.values[(h * 8 + r) * 8 + i]).toBe(up[(h * 16 + i) * 8 + r]);
          expect(v.values[(h * 8 + i) * 8 + r]).toBe(up[(h * 16 + 8 + i) * 8 + r]);
        }
    for (const part of ['gate', 'up', 'down']) {
      const all = [0, 1, 2, 3].map((e) => hub.get(`model.layers.1.mlp.experts.${e}.${part}_proj.weight`)!);
      const { shape, values: stacked } = values(`blk.1.ffn_${part}_exps.weight`);
      expect(shape).toEqual([4, ...all[0]!.shape]);
      expect([...stacked]).toEqual(all.flatMap((one) => [...one.values]));
      expect(values(`blk.1.ffn_${part}_shexp.weight`)).toEqual(
        hub.get(`model.layers.1.mlp.shared_experts.${part}_proj.weight`),
      );
    }
    expect(values('blk.1.ffn_gate_inp.weight')).toEqual(hub.get('model.layers.1.mlp.gate.weight'));
    expect(values('blk.1.exp_probs_b.bias')).toEqual(hub.get('model.layers.1.mlp.gate.e_score_correction_bias'));
    expect(values('blk.0.attn_q_a.weight')).toEqual(hub.get('model.layers.0.self_attn.q_a_proj.weight'));
    expect(values('blk.0.attn_kv_a_mqa.weight')).toEqual(hub.get('model.layers.0.self_attn.kv_a_proj_with_mqa.weight'));
    expect((await written(model, 'BF16')).types.get('blk.1.ffn_gate_inp.weight')).toBe('F32');
    expect(types.get('blk.1.ffn_gate_exps.weight')).toBe('F32');
    disposeModel(model);
  });

  it('tells how its context was stretched', async () => {
    const rope = { type: 'yarn', factor: 40, original_max_position_embeddings: 64, mscale: 0.5, mscale_all_dim: 0.5 };
    const model = modelOf(deepseekV3, { ...experts, rope_scaling: rope });
    const { settings } = await written(model);
    expect(settings).toMatchObject({
      'deepseek2.rope.scaling.type': 'yarn',
      'deepseek2.rope.scaling.factor': 40,
      'deepseek2.rope.scaling.original_context_length': 64,
      'deepseek2.rope.scaling.yarn_log_multiplier': Math.fround(0.05),
    });
    disposeModel(model);
  });

  it('is written of the first generation, whose attention is that of the dense ones', async () => {
    const model = modelOf(deepseekMoe, { ...plainExperts, norm_topk_prob: false });
    const { names, settings } = await written(model);
    expect(settings['general.architecture']).toBe('deepseek');
    expect(names).toEqual(
      expect.arrayContaining(['blk.1.attn_k.weight', 'blk.1.ffn_down_exps.weight', 'blk.0.ffn_down.weight']),
    );
    disposeModel(model);
  });

  it.each([
    [
      'gpt2',
      gpt2,
      { n_embd: 16, n_layer: 1, n_head: 2, n_positions: 16 },
      /^A gpt2 model cannot be written as GGUF; those that can are llama/,
    ],
    [
      'uncompressed queries',
      deepseekV3,
      { ...experts, q_lora_rank: null },
      /with 27 layers only \(V2-Lite\), and this one has 3/,
    ],
    [
      'groups by their best expert',
      deepseekV2,
      { ...experts, n_group: 2, topk_method: 'group_limited_greedy', scoring_func: 'softmax', norm_topk_prob: false },
      /chooses groups of experts as DeepSeek-V3 does/,
    ],
    [
      'weights that are normalised',
      deepseekMoe,
      { ...plainExperts, norm_topk_prob: true },
      /do not normalise the weights/,
    ],
    [
      'experts with no shared one',
      deepseekV3,
      { ...experts, n_shared_experts: 0 },
      /with shared experts only, and this one has none/,
    ],
    [
      'the same of the first generation',
      deepseekMoe,
      { ...plainExperts, n_shared_experts: null, norm_topk_prob: false },
      /with shared experts only, and this one has none/,
    ],
    [
      'a stretched context whose temperature turns keys, too',
      deepseekV3,
      { ...experts, rope_scaling: { type: 'yarn', factor: 40, original_max_position_embeddings: 64 } },
      /mscale and mscale_all_dim are the same and not 0, and this model has 1 and 0;/,
    ],
  ] as const)('is refused where llama.cpp has no such model: %s', async (_, family, hub, sentence) => {
    const model = modelOf(family, hub);
    await expect(written(model)).rejects.toThrow(sentence);
    disposeModel(model);
  });
});
