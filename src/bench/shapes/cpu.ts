import type { ShapeLists } from './jobs.js';

/** Shapes for CPUs that other benchmarks share with ours. */
export const cpuShapes: ShapeLists = {
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

/** Bounds of the machine, and ops that have no rival on a CPU. */
export const ownCpuShapes: ShapeLists = {
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
};
