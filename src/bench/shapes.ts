/**
 * The named shapes of the benchmark: facts that other benchmarks of the same work share, so that rows can be compared by
 * job, name and metric. Keys are those of the rows printed. Sizes in a name are what they say: `2048x512x256` is M x N x K.
 */

interface Named {
  readonly name: string;
}
type DType = 'f32' | 'bf16';
type Routing = 'uniform' | 'zipf';

export interface JobShapes {
  readonly train_step: Named & { readonly model: ModelName; readonly batch: number; readonly seq: number };
  readonly decode: Named & {
    readonly model: ModelName;
    readonly batch: number;
    readonly prompt: number;
    readonly new: number;
  };
  readonly grpo: Named & {
    readonly model: ModelName;
    readonly prompts: number;
    readonly group: number;
    readonly new: number;
  };
  readonly gemm: Named & { readonly m: number; readonly n: number; readonly k: number; readonly dtype: DType };
  readonly attention: Named & {
    readonly batch: number;
    readonly heads: number;
    readonly seq: number;
    readonly qk: number; // channels of a query and a key
    readonly v: number; // channels of a value
    readonly dtype: DType;
  };
  readonly mla_decode: Named & {
    readonly batch: number;
    readonly heads: number;
    readonly kv: number; // keys that a query sees
    readonly latent: number;
    readonly rope: number;
    readonly dtype: DType;
  };
  readonly moe: Named & {
    readonly tokens: number;
    readonly hidden: number;
    readonly inner: number;
    readonly experts: number;
    readonly top_k: number;
    readonly routing: Routing;
  };
  readonly cross_entropy: Named & { readonly rows: number; readonly vocab: number; readonly dtype: DType };
  readonly linear_cross_entropy: Named & {
    readonly rows: number;
    readonly hidden: number;
    readonly vocab: number;
    readonly dtype: DType;
  };
  /** `f32`: everything is f32. `master`: from bf16 gradients to f32 masters and bf16 parameters, with clipping. */
  readonly adamw: Named & { readonly params: number; readonly state: 'f32' | 'master' };
  readonly rmsnorm: Named & { readonly rows: number; readonly cols: number; readonly dtype: DType };
  readonly rope: Named & {
    readonly tokens: number;
    readonly heads: number;
    readonly dim: number;
    readonly dtype: DType;
  };
  readonly router: Named & {
    readonly tokens: number;
    readonly hidden: number;
    readonly experts: number;
    readonly top_k: number;
    readonly groups: number;
    readonly top_groups: number;
  };
  readonly copy: Named & { readonly bytes: number };
  readonly peak: Named & { readonly largest: number; readonly dtype: DType };
  readonly bpe_train: Named & { readonly vocab: number };
  readonly bpe_encode: Named & { readonly vocab: number };
}

export type JobName = keyof JobShapes;
export type Shape = JobShapes[JobName];
export type ShapeLists = { readonly [J in JobName]?: readonly JobShapes[J][] };
export type ShapeGroup = 'cpu' | 'cuda' | 'text';

/** A model by the keys of config.json; null where it lacks the part. */
export type ModelShape = Readonly<Record<string, number | null>>;

export const models = {
  'cpu-micro': {
    vocab_size: 2048,
    hidden_size: 128,
    num_hidden_layers: 6,
    num_attention_heads: 4,
    q_lora_rank: null,
    kv_lora_rank: 32,
    qk_nope_head_dim: 16,
    qk_rope_head_dim: 16,
    v_head_dim: 16,
    intermediate_size: 512,
    moe_intermediate_size: 128,
    n_routed_experts: 16,
    num_experts_per_tok: 4,
    n_shared_experts: 1,
    first_k_dense_replace: 1,
    n_group: 1,
    topk_group: 1,
  },
  'cpu-nano': {
    vocab_size: 4096,
    hidden_size: 256,
    num_hidden_layers: 6,
    num_attention_heads: 4,
    q_lora_rank: null,
    kv_lora_rank: 64,
    qk_nope_head_dim: 32,
    qk_rope_head_dim: 16,
    v_head_dim: 32,
    intermediate_size: 1024,
    moe_intermediate_size: 256,
    n_routed_experts: 16,
    num_experts_per_tok: 4,
    n_shared_experts: 1,
    first_k_dense_replace: 1,
    n_group: 1,
    topk_group: 1,
  },
  'cpu-mini': {
    vocab_size: 8192,
    hidden_size: 512,
    num_hidden_layers: 8,
    num_attention_heads: 8,
    q_lora_rank: null,
    kv_lora_rank: 128,
    qk_nope_head_dim: 64,
    qk_rope_head_dim: 32,
    v_head_dim: 64,
    intermediate_size: 2048,
    moe_intermediate_size: 512,
    n_routed_experts: 16,
    num_experts_per_tok: 4,
    n_shared_experts: 1,
    first_k_dense_replace: 1,
    n_group: 1,
    topk_group: 1,
  },
  'gpu-1b': {
    vocab_size: 32768,
    hidden_size: 2048,
    num_hidden_layers: 14,
    num_attention_heads: 16,
    q_lora_rank: null,
    kv_lora_rank: 512,
    qk_nope_head_dim: 128,
    qk_rope_head_dim: 64,
    v_head_dim: 128,
    intermediate_size: 8192,
    moe_intermediate_size: 768,
    n_routed_experts: 64,
    num_experts_per_tok: 8,
    n_shared_experts: 1,
    first_k_dense_replace: 1,
    n_group: 1,
    topk_group: 1,
  },
  'gpu-2b-dsmoe': {
    vocab_size: 8192,
    hidden_size: 1280,
    num_hidden_layers: 9,
    num_attention_heads: 10,
    q_lora_rank: null,
    kv_lora_rank: null,
    head_dim: 128,
    intermediate_size: 3456,
    moe_intermediate_size: 864,
    n_routed_experts: 63,
    num_experts_per_tok: 7,
    n_shared_experts: 1,
    first_k_dense_replace: 0,
    n_group: 1,
    topk_group: 1,
  },
} satisfies Record<string, ModelShape>;

export type ModelName = keyof typeof models;

const cpu: ShapeLists = {
  train_step: [
    { name: 'cpu-micro', model: 'cpu-micro', batch: 8, seq: 256 },
    { name: 'cpu-nano', model: 'cpu-nano', batch: 8, seq: 256 },
    { name: 'cpu-mini', model: 'cpu-mini', batch: 4, seq: 512 },
  ],
  decode: [
    { name: 'cpu-nano-b1', model: 'cpu-nano', batch: 1, prompt: 64, new: 128 },
    { name: 'cpu-nano-b16', model: 'cpu-nano', batch: 16, prompt: 64, new: 128 },
    { name: 'cpu-nano-b64', model: 'cpu-nano', batch: 64, prompt: 64, new: 128 },
    { name: 'cpu-mini-b1', model: 'cpu-mini', batch: 1, prompt: 64, new: 128 },
    { name: 'cpu-mini-b16', model: 'cpu-mini', batch: 16, prompt: 64, new: 128 },
  ],
  grpo: [
    { name: 'cpu-micro-g8x8', model: 'cpu-micro', prompts: 8, group: 8, new: 32 },
    { name: 'cpu-nano-g8x8', model: 'cpu-nano', prompts: 8, group: 8, new: 32 },
  ],
  gemm: [
    { name: '1024x1024x1024-bf16', m: 1024, n: 1024, k: 1024, dtype: 'bf16' },
    { name: '2048x2048x2048-bf16', m: 2048, n: 2048, k: 2048, dtype: 'bf16' },
    { name: '4096x1024x7168-bf16', m: 4096, n: 1024, k: 7168, dtype: 'bf16' },
    { name: '2048x512x256-bf16', m: 2048, n: 512, k: 256, dtype: 'bf16' },
    { name: '512x512x256-bf16', m: 512, n: 512, k: 256, dtype: 'bf16' },
    { name: '32x1024x1024-bf16', m: 32, n: 1024, k: 1024, dtype: 'bf16' },
    { name: '1x8192x8192-bf16', m: 1, n: 8192, k: 8192, dtype: 'bf16' },
    { name: '1024x1024x1024-f32', m: 1024, n: 1024, k: 1024, dtype: 'f32' },
    { name: '2048x2048x2048-f32', m: 2048, n: 2048, k: 2048, dtype: 'f32' },
    { name: '2048x512x256-f32', m: 2048, n: 512, k: 256, dtype: 'f32' },
  ],
  attention: [
    { name: 'b8-h4-s256-48-32-bf16', batch: 8, heads: 4, seq: 256, qk: 48, v: 32, dtype: 'bf16' },
    { name: 'b4-h8-s512-96-64-bf16', batch: 4, heads: 8, seq: 512, qk: 96, v: 64, dtype: 'bf16' },
    { name: 'b4-h8-s512-64-64-bf16', batch: 4, heads: 8, seq: 512, qk: 64, v: 64, dtype: 'bf16' },
    { name: 'b1-h16-s1024-192-128-bf16', batch: 1, heads: 16, seq: 1024, qk: 192, v: 128, dtype: 'bf16' },
    { name: 'b1-h16-s1024-192-128-f32', batch: 1, heads: 16, seq: 1024, qk: 192, v: 128, dtype: 'f32' },
  ],
  rmsnorm: [
    { name: '2048x256-bf16', rows: 2048, cols: 256, dtype: 'bf16' },
    { name: '2048x2048-bf16', rows: 2048, cols: 2048, dtype: 'bf16' },
    { name: '2048x2048-f32', rows: 2048, cols: 2048, dtype: 'f32' },
  ],
  cross_entropy: [
    { name: '2048x4096-bf16', rows: 2048, vocab: 4096, dtype: 'bf16' },
    { name: '512x32768-bf16', rows: 512, vocab: 32768, dtype: 'bf16' },
    { name: '128x129280-bf16', rows: 128, vocab: 129_280, dtype: 'bf16' },
    { name: '2048x4096-f32', rows: 2048, vocab: 4096, dtype: 'f32' },
  ],
  linear_cross_entropy: [
    { name: '2048x256x4096-bf16', rows: 2048, hidden: 256, vocab: 4096, dtype: 'bf16' },
    { name: '1024x512x32768-bf16', rows: 1024, hidden: 512, vocab: 32768, dtype: 'bf16' },
    { name: '256x1024x129280-bf16', rows: 256, hidden: 1024, vocab: 129_280, dtype: 'bf16' },
  ],
  adamw: [
    { name: '1e7-f32', params: 10_000_000, state: 'f32' },
    { name: '1e8-f32', params: 100_000_000, state: 'f32' },
    { name: '1e7-master', params: 10_000_000, state: 'master' },
  ],
  moe: [
    {
      name: 'nano-t2048-h256-i256-e16-k4',
      tokens: 2048,
      hidden: 256,
      inner: 256,
      experts: 16,
      top_k: 4,
      routing: 'uniform',
    },
    {
      name: 'mini-t2048-h512-i512-e16-k4',
      tokens: 2048,
      hidden: 512,
      inner: 512,
      experts: 16,
      top_k: 4,
      routing: 'uniform',
    },
    {
      name: 'mini-t2048-h512-i512-e16-k4-zipf',
      tokens: 2048,
      hidden: 512,
      inner: 512,
      experts: 16,
      top_k: 4,
      routing: 'zipf',
    },
    {
      name: 'wide-t2048-h1024-i512-e64-k6',
      tokens: 2048,
      hidden: 1024,
      inner: 512,
      experts: 64,
      top_k: 6,
      routing: 'uniform',
    },
  ],
};

const cuda: ShapeLists = {
  train_step: [
    { name: 'gpu-1b', model: 'gpu-1b', batch: 2, seq: 4096 },
    { name: 'gpu-2b-dsmoe', model: 'gpu-2b-dsmoe', batch: 8, seq: 2048 },
  ],
  copy: [{ name: '4gib', bytes: 4_294_967_296 }],
  gemm: [
    { name: '8192x8192x8192-bf16', m: 8192, n: 8192, k: 8192, dtype: 'bf16' },
    { name: '4096x7168x16384-bf16', m: 4096, n: 7168, k: 16384, dtype: 'bf16' },
    { name: '8192x3072x2048-bf16', m: 8192, n: 3072, k: 2048, dtype: 'bf16' },
    { name: '8192x576x2048-bf16', m: 8192, n: 576, k: 2048, dtype: 'bf16' },
    { name: '8192x4096x512-bf16', m: 8192, n: 4096, k: 512, dtype: 'bf16' },
    { name: '8192x24576x1536-bf16', m: 8192, n: 24576, k: 1536, dtype: 'bf16' },
    { name: '8192x7168x16384-bf16', m: 8192, n: 7168, k: 16384, dtype: 'bf16' },
    { name: '8192x131072x4096-bf16', m: 8192, n: 131_072, k: 4096, dtype: 'bf16' },
    { name: '128x7168x16384-bf16', m: 128, n: 7168, k: 16384, dtype: 'bf16' },
  ],
  attention: [
    { name: 'b2-h16-s4096-192-128-bf16', batch: 2, heads: 16, seq: 4096, qk: 192, v: 128, dtype: 'bf16' },
    { name: 'b1-h128-s4096-192-128-bf16', batch: 1, heads: 128, seq: 4096, qk: 192, v: 128, dtype: 'bf16' },
    { name: 'b4-h16-s4096-128-128-bf16', batch: 4, heads: 16, seq: 4096, qk: 128, v: 128, dtype: 'bf16' },
  ],
  mla_decode: [
    { name: 'b128-h16-kv4096', batch: 128, heads: 16, kv: 4096, latent: 512, rope: 64, dtype: 'bf16' },
    { name: 'b128-h128-kv4096', batch: 128, heads: 128, kv: 4096, latent: 512, rope: 64, dtype: 'bf16' },
  ],
  moe: [
    { name: 'moe-16b-layer', tokens: 8192, hidden: 2048, inner: 1408, experts: 64, top_k: 6, routing: 'uniform' },
    { name: 'v3-layer', tokens: 8192, hidden: 7168, inner: 2048, experts: 32, top_k: 8, routing: 'uniform' },
    { name: 'qwen3-30b-layer', tokens: 8192, hidden: 2048, inner: 768, experts: 128, top_k: 8, routing: 'uniform' },
    { name: 'qwen3-30b-layer-zipf', tokens: 8192, hidden: 2048, inner: 768, experts: 128, top_k: 8, routing: 'zipf' },
    { name: 'fine-7b-layer', tokens: 24576, hidden: 1536, inner: 256, experts: 128, top_k: 8, routing: 'uniform' },
  ],
  linear_cross_entropy: [
    { name: '8192x4096x131072-bf16', rows: 8192, hidden: 4096, vocab: 131_072, dtype: 'bf16' },
    { name: '8192x2048x32768-bf16', rows: 8192, hidden: 2048, vocab: 32768, dtype: 'bf16' },
  ],
  adamw: [
    { name: '1e9-f32', params: 1_000_000_000, state: 'f32' },
    { name: '1e9-master', params: 1_000_000_000, state: 'master' },
  ],
  rmsnorm: [
    { name: '8192x2048-bf16', rows: 8192, cols: 2048, dtype: 'bf16' },
    { name: '8192x7168-bf16', rows: 8192, cols: 7168, dtype: 'bf16' },
  ],
  rope: [
    { name: 't8192-h16-d64-bf16', tokens: 8192, heads: 16, dim: 64, dtype: 'bf16' },
    { name: 't8192-h128-d64-bf16', tokens: 8192, heads: 128, dim: 64, dtype: 'bf16' },
  ],
  router: [
    { name: 't8192-h2048-e64-k6', tokens: 8192, hidden: 2048, experts: 64, top_k: 6, groups: 1, top_groups: 1 },
    { name: 't8192-h2048-e128-k8', tokens: 8192, hidden: 2048, experts: 128, top_k: 8, groups: 1, top_groups: 1 },
    { name: 't8192-h7168-e256-k8-g8-4', tokens: 8192, hidden: 7168, experts: 256, top_k: 8, groups: 8, top_groups: 4 },
  ],
};

const text: ShapeLists = {
  bpe_train: [
    { name: 'vocab-4096', vocab: 4096 },
    { name: 'vocab-32768', vocab: 32768 },
  ],
  bpe_encode: [
    { name: 'vocab-4096', vocab: 4096 },
    { name: 'vocab-32768', vocab: 32768 },
  ],
};

/** Shapes that other benchmarks share with ours. */
export const sharedShapes: Readonly<Record<ShapeGroup, ShapeLists>> = { cpu, cuda, text };

/** Shapes of our own: bounds of the machine, and ops that have no rival on a CPU. Their rows carry `own: true`. */
export const ownShapes: Readonly<Record<ShapeGroup, ShapeLists>> = {
  cpu: {
    copy: [{ name: '256mib', bytes: 268_435_456 }],
    peak: [
      { name: 'best-f32', largest: 2048, dtype: 'f32' },
      { name: 'best-bf16', largest: 2048, dtype: 'bf16' },
    ],
    mla_decode: [{ name: 'b16-h8-kv1024', batch: 16, heads: 8, kv: 1024, latent: 128, rope: 32, dtype: 'bf16' }],
    rope: [
      { name: 't2048-h8-d32-bf16', tokens: 2048, heads: 8, dim: 32, dtype: 'bf16' },
      { name: 't2048-h8-d32-f32', tokens: 2048, heads: 8, dim: 32, dtype: 'f32' },
    ],
    router: [
      { name: 't2048-h512-e16-k4', tokens: 2048, hidden: 512, experts: 16, top_k: 4, groups: 1, top_groups: 1 },
      { name: 't2048-h1024-e64-k6', tokens: 2048, hidden: 1024, experts: 64, top_k: 6, groups: 1, top_groups: 1 },
    ],
  },
  cuda: {
    peak: [{ name: 'best-bf16', largest: 8192, dtype: 'bf16' }],
  },
  text: {},
};
