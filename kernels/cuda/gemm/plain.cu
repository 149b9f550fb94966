// Products in f32, or of f32 with bf16, without tensor cores: one chain of fused multiply-adds an element, k in order.
//
// How it runs: 64 x 64 tiles, 256 threads with 4 x 4 sums each, 16 deep steps through shared memory. What bounds it: the f32
// units. Training runs in bf16 (tensor.cu); this serves f32 models, the router and tests.
#include "common.cuh"

namespace moe::cuda::gemm {

namespace {

constexpr int kTile = 64, kDepth = 16, kThreads = 256, kEach = 4, kPad = 4;

/// to[k][i] = side(i, k) for a tile of kTile by kDepth; zeros outside.
__device__ void bring(float* to, const Side& s, int64_t base, int64_t i0, int64_t iEnd, int64_t k0, int64_t kEnd) {
  for (int at = threadIdx.x; at < kTile * kDepth; at += kThreads) {
    const int i = s.kFirst ? at % kTile : at / kDepth, k = s.kFirst ? at / kTile : at % kDepth;
    float v = 0;
    if (i0 + i < iEnd && k0 + k < kEnd) {
      int64_t row = s.kFirst ? k0 + k : i0 + i;
      if (s.gather) row = s.gather[row];
      v = read(s.data, s.dtype, base + row * s.stride + (s.kFirst ? i0 + i : k0 + k));
    }
    to[k * (kTile + kPad) + i] = v;
  }
}

__global__ void __launch_bounds__(kThreads) plainKernel(Product p, int64_t tilesDown) {
  const TileAt tile = tileAt(blockIdx.x, tilesDown, tilesOf(p.n, kTile));
  const Part part = partOf(p, tile.down, kTile, blockIdx.z);
  if (part.empty) return;
  const int64_t col = tile.across * kTile;
  float* a = sharedMemory<float>();
  float* b = a + kDepth * (kTile + kPad);
  const int down = threadIdx.x / (kTile / kEach) * kEach, across = threadIdx.x % (kTile / kEach) * kEach;
  float sums[kEach][kEach] = {};
  for (int64_t k = part.k; k < part.kEnd; k += kDepth) {
    __syncthreads();
    bring(a, p.a, batchOfA(p, part), part.row, part.rowEnd, k, part.kEnd);
    bring(b, p.b, batchOfB(p, part), col, p.n, k, part.kEnd);
    __syncthreads();
#pragma unroll
    for (int step = 0; step < kDepth; step++) {
      float x[kEach], y[kEach];
#pragma unroll
      for (int i = 0; i < kEach; i++) {
        x[i] = a[step * (kTile + kPad) + down + i];
        y[i] = b[step * (kTile + kPad) + across + i];
      }
#pragma unroll
      for (int i = 0; i < kEach; i++)
#pragma unroll
        for (int j = 0; j < kEach; j++) sums[i][j] = fmaf(x[i], y[j], sums[i][j]);
    }
  }
  const int64_t base = batchOfC(p, part);
#pragma unroll
  for (int i = 0; i < kEach; i++)
#pragma unroll
    for (int j = 0; j < kEach; j++) {
      const int64_t row = part.row + down + i, at = col + across + j;
      if (row < part.rowEnd && at < p.n) deliver(p, base + row * p.c.stride + at, at, sums[i][j]);
    }
}

}  // namespace

void computePlain(const Product& p) {
  const int64_t down = rowTiles(p, kTile), across = tilesOf(p.n, kTile);
  const dim3 grid(blocks(down * across), 1, p.groups == Groups::rows ? 1 : static_cast<unsigned>(p.batches));
  launch(plainKernel, grid, kThreads, 2 * kDepth * (kTile + kPad) * sizeof(float), p, down);
}

}  // namespace moe::cuda::gemm
