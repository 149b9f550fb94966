// How the results of gemm/hopper.cu reach c.
#pragma once
#include "hopper_ring.cuh"

namespace moe::cuda::gemm::hopper {

/// How c can be written: element by element, or by way of shared memory in lines of 128 bytes, in which a warp's lanes lie side by
/// side; `wide` where sums must stay f32 until then, because c is f32 or its old content is added.
enum class Writing { single, lines, wide };

/// A warp's 16 rows at `to`, a line of `perLine` columns at a time: its lanes put what they hold into a tile, then take 16 bytes of
/// a row each. rows and cols: what of it c has. put(places of two neighbours, column, two sums), take(16 bytes, column, places in c).
template <int perLine, int count, class T, class Put, class Take>
__device__ __forceinline__ void finishLines(const float (&sums)[count], bf16* staged, T* to, int64_t stride, int rows, int cols, Put&& put, Take&& take) {
  constexpr int kEach = perLine / 8, kAtOnce = kLanes / 8;
  const int lane = ptx::anew(threadIdx.x % kLanes);
  const Tile tile{staged, 8};
  to += lane / 8 * stride + lane % 8 * kEach;
#pragma unroll
  for (int from = 0; from < 2 * count; from += perLine, to += perLine) {
    __syncwarp();
#pragma unroll
    for (int i = 0; i < perLine / 2; i += 2) {
      const fragment::Place place = fragment::accumulator(lane, i);
      put(reinterpret_cast<char*>(tile.chunk(place.row, place.col / kEach)) + place.col % kEach * (128 / perLine), from + place.col, sums[from / 2 + i], sums[from / 2 + i + 1]);
    }
    __syncwarp();
    const int at = from + lane % 8 * kEach;
    T* line = to;
#pragma unroll
    for (int r = 0; r < 16; r += kAtOnce, line += kAtOnce * stride)
      if (at < cols && r + lane / 8 < rows) take(tile.chunk(r + lane / 8, lane % 8), at, line);
  }
}

template <int count> __device__ __forceinline__ void finishNarrow(const float (&sums)[count], const Target& c, bf16* staged, bf16* to, int rows, int64_t col, int cols) {
  finishLines<kLine>(
      sums, staged, to, c.stride, rows, cols,
      [&](void* two, int at, float first, float second) {
        if (c.bias && at < cols) {
          first += read(c.bias, c.biasDtype, col + at);
          second += read(c.bias, c.biasDtype, col + at + 1);
        }
        *static_cast<uint32_t*>(two) = pack(first, second);
      },
      [&](const bf16* chunk, int, bf16* line) { *reinterpret_cast<Pack<bf16, kChunk>*>(line) = *reinterpret_cast<const Pack<bf16, kChunk>*>(chunk); });
}

template <int count, class T> __device__ __forceinline__ void finishWide(const float (&sums)[count], const Target& c, bf16* staged, T* to, int rows, int64_t col, int cols) {
  finishLines<kLine / 2>(
      sums, staged, to, c.stride, rows, cols, [&](void* two, int, float first, float second) { *static_cast<Pack<float, 2>*>(two) = {{first, second}}; },
      [&](const bf16* chunk, int at, T* line) {
        Floats<4> sum = *reinterpret_cast<const Floats<4>*>(chunk);
        if (c.bias)
#pragma unroll
          for (int i = 0; i < 4; i++) sum.at[i] += read(c.bias, c.biasDtype, col + at + i);
        accumulate<4>(line, sum, c.add ? 1.f : 0.f);
      });
}

/// row, col: of the group's part of c; base: where its matrix begins.
template <int count>
__device__ __forceinline__ void finish(const float (&sums)[count], const Product& p, Writing writing, bf16* staged, int64_t base, int64_t row, int64_t rowEnd, int64_t col) {
  if (writing == Writing::single) {
#pragma unroll
    for (int i = 0; i < count; i++) {
      const fragment::Place place = fragment::accumulator(threadIdx.x, i);
      const int64_t r = row + place.row, at = col + place.col;
      if (r < rowEnd && at < p.n) deliver(p, base + r * p.c.stride + at, at, sums[i]);
    }
    return;
  }
  row += threadIdx.x % kGroup / kLanes * 16;
  const int64_t to = base + row * p.c.stride + col;
  const int rows = static_cast<int>(least(rowEnd - row, int64_t{16})), cols = static_cast<int>(least(p.n - col, int64_t{2 * count}));
  if (writing == Writing::lines) finishNarrow(sums, p.c, staged, static_cast<bf16*>(p.c.data) + to, rows, col, cols);
  else if (p.c.dtype == DType::f32) finishWide(sums, p.c, staged, static_cast<float*>(p.c.data) + to, rows, col, cols);
  else finishWide(sums, p.c, staged, static_cast<bf16*>(p.c.data) + to, rows, col, cols);
}

}  // namespace moe::cuda::gemm::hopper
