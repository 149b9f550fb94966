import type { ShapeLists } from './jobs.js';

/** Shapes for GPUs that other benchmarks share with ours. */
export const cudaShapes: ShapeLists = {
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

/** Bounds of the machine. */
export const ownCudaShapes: ShapeLists = {
  peak: [{ name: 'best-bf16', largest: 8192, dtype: 'bf16' }],
};
