// Tiles in shared memory, and products of them on the tensor cores. A tile holds rows of bf16 in 16-byte chunks, swizzled
// (fragment.h). Both operands of a product may lie either way round: rows along k ([m][k], [n][k]) or k along rows ("kFirst":
// [k][m], [k][n]); ldmatrix.trans makes up the difference.
#pragma once
#include <ptx.cuh>

#include "cuda.cuh"

namespace moe::cuda {

inline constexpr int kChunk = 8;  ///< bf16 in 16 bytes

struct Tile {
  bf16* data;
  int chunks;  ///< per row: 1, 2, 4 or a multiple of 8
  __device__ __forceinline__ bf16* chunk(int row, int chunk) const { return data + (row * chunks + fragment::swizzle(row, chunk, chunks)) * kChunk; }
  __device__ __forceinline__ bf16* at(int row, int col) const { return chunk(row, col / kChunk) + col % kChunk; }
};

/// A [16 x 16] at (m, k). k and m are multiples of 16.
template <bool kFirst> __device__ __forceinline__ void loadA(uint32_t (&a)[4], const Tile& t, int m, int k) {
  const fragment::Place p = fragment::addressA(threadIdx.x % kLanes, kFirst);
  if constexpr (kFirst) ptx::loadMatrices<true>(a, t.chunk(k + p.row, m / kChunk + p.col));
  else ptx::loadMatrices<false>(a, t.chunk(m + p.row, k / kChunk + p.col));
}
/// Two fragments of B, [16 x 8] at (k, n) and (k, n + 8).
template <bool kFirst> __device__ __forceinline__ void loadB(uint32_t (&b)[4], const Tile& t, int k, int n) {
  const fragment::Place p = fragment::addressB(threadIdx.x % kLanes, kFirst);
  if constexpr (kFirst) ptx::loadMatrices<true>(b, t.chunk(k + p.row, n / kChunk + p.col));
  else ptx::loadMatrices<false>(b, t.chunk(n + p.row, k / kChunk + p.col));
}

/// c[i][j] += a(m + 16 i, ..) b(.., n + 8 j) over `depth` (a multiple of 16) from k = 0 on. cols counts fragments of 8, even.
template <bool aFirst, bool bFirst, int rows, int cols>
__device__ __forceinline__ void multiply(float (&c)[rows][cols][4], const Tile& ta, int m, const Tile& tb, int n, int depth) {
#pragma unroll 2
  for (int k = 0; k < depth; k += 16) {
    uint32_t a[rows][4];
#pragma unroll
    for (int i = 0; i < rows; i++) loadA<aFirst>(a[i], ta, m + 16 * i, k);
#pragma unroll
    for (int j = 0; j < cols; j += 2) {
      uint32_t b[4];
      loadB<bFirst>(b, tb, k, n + 8 * j);
#pragma unroll
      for (int i = 0; i < rows; i++) {
        ptx::mma(c[i][j], a[i], b[0], b[1]);
        ptx::mma(c[i][j + 1], a[i], b[2], b[3]);
      }
    }
  }
}

/// Memory that a tile is filled from: row r, columns in steps of 1. `aligned`: every chunk lies at a multiple of 16 bytes.
struct Source {
  const bf16* data;
  int64_t stride;
  bool aligned;
  const int32_t* gather = nullptr;  ///< memory row of row r, if given
};

/// Starts filling one chunk with `valid` (0 to 8) elements from `from` and zeros.
__device__ __forceinline__ void fillChunk(bf16* to, const bf16* from, int valid, bool aligned) {
  if (aligned) return ptx::copyAsync(to, from, valid * 2);
  Pack<bf16, kChunk> v;
#pragma unroll
  for (int i = 0; i < kChunk; i++) v.at[i] = i < valid ? from[i] : bf16{0};
  *reinterpret_cast<Pack<bf16, kChunk>*>(to) = v;
}

/// Starts filling rows [0, rows) and columns [0, 8 chunks) of the tile from column `col` of the source; beyond colEnd zeros.
/// memoryRow(r): where row r comes from; below 0 it is zeros. All `threads` threads take part; commit and wait follow.
template <class Index> __device__ __forceinline__ void fillRows(const Tile& t, int rows, const Source& s, Index&& memoryRow, int64_t col, int64_t colEnd, int threads) {
  for (int i = threadIdx.x; i < rows * t.chunks; i += threads) {
    const int r = i / t.chunks, c = i % t.chunks;
    const int64_t from = memoryRow(r), at = col + c * kChunk;
    const int valid = from >= 0 && at < colEnd ? static_cast<int>(least(colEnd - at, int64_t{kChunk})) : 0;
    fillChunk(t.chunk(r, c), valid > 0 ? s.data + from * s.stride + at : s.data, valid, s.aligned);
  }
}

/// The same from row `row` of the source on, looked up if there is a table; beyond rowEnd zeros.
__device__ __forceinline__ void fillTile(const Tile& t, int rows, const Source& s, int64_t row, int64_t rowEnd, int64_t col, int64_t colEnd, int threads) {
  const auto memoryRow = [&](int r) { return row + r >= rowEnd ? int64_t{-1} : s.gather ? int64_t{s.gather[row + r]} : row + r; };
  fillRows(t, rows, s, memoryRow, col, colEnd, threads);
}

}  // namespace moe::cuda
