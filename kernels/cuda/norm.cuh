// Norms of rows that a block holds in its registers: a thread owns `packs` packs of 8 columns, of `rows` rows at once, so that
// enough loads are in flight, each element is read once, and one barrier serves the sums of all these rows.
#pragma once
#include "cuda.cuh"

namespace moe::cuda::norms {

/// Threads of a block at most; columns up to 8 * packs * that.
template <int packs> constexpr int kMost = packs == 2 ? 448 : 256;

/// Blocks of backwardRows that are to share a multiprocessor.
template <bool centred, int packs, class T> constexpr int kTogether = centred || sizeof(T) > 2 ? 1 : 4 / packs;

/// The first column of this thread's p-th pack.
__device__ __forceinline__ int64_t columnOf(int p) { return (p * int64_t{blockDim.x} + threadIdx.x) * kVec; }

/// This thread's packs of rows [row, row + rows); zeros beyond `end` and `cols`.
template <int rows, int packs, class T> struct Held {
  Pack<T, kVec> at[rows][packs];
  __device__ __forceinline__ Held(const Rows<const T>& x, int64_t row, int64_t end, int64_t cols) {
#pragma unroll
    for (int i = 0; i < rows; i++)
#pragma unroll
      for (int p = 0; p < packs; p++)
        at[i][p] = row + i < end && columnOf(p) < cols ? *reinterpret_cast<const Pack<T, kVec>*>(x.at(row + i, columnOf(p))) : Pack<T, kVec>{};
  }
  __device__ __forceinline__ float get(int i, int p, int j) const { return widen(at[i][p].at[j]); }
};

/// x becomes the block's sums. `shared` holds `count` floats a warp; calls that follow each other use two of them in turn.
template <int count> __device__ __forceinline__ void sums(float (&x)[count], float* shared) {
  const int warps = blockDim.x / kLanes;
#pragma unroll
  for (int c = 0; c < count; c++) x[c] = warpSum(x[c]);
  if (warps == 1) return;
#pragma unroll
  for (int c = 0; c < count; c++)
    if (threadIdx.x % kLanes == 0) shared[threadIdx.x / kLanes * count + c] = x[c];
  __syncthreads();
#pragma unroll
  for (int c = 0; c < count; c++) x[c] = shared[c];
  for (int w = 1; w < warps; w++)
#pragma unroll
    for (int c = 0; c < count; c++) x[c] += shared[w * count + c];
}
constexpr int kMostSums = 8;
constexpr size_t kSumBytes = 2 * kMostSums * (kMost<2> / kLanes) * sizeof(float);

/// One of two buffers for sums.
__device__ __forceinline__ float* sumBuffer(bool second) { return sharedMemory<float>() + (second ? kMostSums * (kMost<2> / kLanes) : 0); }

struct Bias {
  const void* data;
  bool wide;  ///< f32
  __device__ __forceinline__ Floats<kVec> at(int64_t col) const {
    if (!data) return {};
    return wide ? load<kVec>(static_cast<const float*>(data) + col) : load<kVec>(static_cast<const bf16*>(data) + col);
  }
};

/// centred: layernorm, which rmsnorm is without mean and bias.
template <bool centred, int rows, int packs, class T, class W> __global__ void __launch_bounds__(kMost<packs>)
forwardRows(Rows<T> y, float* mean, float* rstd, Rows<const T> x, const W* weight, Bias bias, int64_t count, int64_t cols, float eps) {
  const int64_t row = blockIdx.x * int64_t{rows};
  const Held<rows, packs, T> v(x, row, count, cols);
  float m[rows] = {}, r[rows] = {};
  if constexpr (centred) {
#pragma unroll
    for (int i = 0; i < rows; i++)
      for (int p = 0; p < packs; p++)
        for (int j = 0; j < kVec; j++) m[i] += v.get(i, p, j);
    sums(m, sumBuffer(true));
#pragma unroll
    for (int i = 0; i < rows; i++) m[i] /= static_cast<float>(cols);
  }
#pragma unroll
  for (int i = 0; i < rows; i++)
#pragma unroll
    for (int p = 0; p < packs; p++)
#pragma unroll
      for (int j = 0; j < kVec; j++) {
        const float h = columnOf(p) < cols ? v.get(i, p, j) - m[i] : 0.f;
        r[i] = fmaf(h, h, r[i]);
      }
  sums(r, sumBuffer(false));
#pragma unroll
  for (int i = 0; i < rows; i++) {
    r[i] = rsqrtf(r[i] / static_cast<float>(cols) + eps);
    if (threadIdx.x != 0 || row + i >= count) continue;
    rstd[row + i] = r[i];
    if constexpr (centred) mean[row + i] = m[i];
  }
#pragma unroll
  for (int p = 0; p < packs; p++) {
    const int64_t col = columnOf(p);
    if (col >= cols) continue;
    const Floats<kVec> w = load<kVec>(weight + col), b = bias.at(col);
#pragma unroll
    for (int i = 0; i < rows; i++) {
      if (row + i >= count) continue;
      Floats<kVec> out;
#pragma unroll
      for (int j = 0; j < kVec; j++) out.at[j] = fmaf((v.get(i, p, j) - m[i]) * r[i], w.at[j], b.at[j]);
      store<kVec>(y.at(row + i, col), out);
    }
  }
}

/// A block's rows, and where its sums of columns go: parts[slab][dw, and with dbias db][cols].
struct Slab {
  int64_t rows, each;  ///< all rows, rows of a block
  float* parts;        ///< may be null
  bool bias;
};

template <bool centred, int rows, int packs, class T, class W> __global__ void __launch_bounds__(kMost<packs>, kTogether<centred, packs, T>)
backwardRows(Rows<T> dx, float beta, Rows<const T> dy, Rows<const T> x, const W* weight, const float* mean, const float* rstd, Slab slab, int64_t cols) {
  float dw[packs][kVec] = {}, db[packs][kVec] = {};
  const int64_t begin = blockIdx.x * slab.each, end = least(slab.rows, begin + slab.each);
  bool second = false;
  for (int64_t row = begin; row < end; row += rows, second = !second) {
    const Held<rows, packs, T> v(x, row, end, cols), d(dy, row, end, cols);
    constexpr int kSums = centred ? 2 : 1;
    float r[rows], m[rows], dot[rows * kSums] = {};  // of each row: <g, h> and, where it counts, sum of g; g = dy w
#pragma unroll
    for (int i = 0; i < rows; i++) {
      r[i] = row + i < end ? rstd[row + i] : 0.f;
      m[i] = centred && row + i < end ? mean[row + i] : 0.f;
    }
#pragma unroll
    for (int p = 0; p < packs; p++) {
      const Floats<kVec> w = columnOf(p) < cols ? load<kVec>(weight + columnOf(p)) : Floats<kVec>{};
#pragma unroll
      for (int i = 0; i < rows; i++)
#pragma unroll
        for (int j = 0; j < kVec; j++) {
          const float h = (v.get(i, p, j) - m[i]) * r[i], g = d.get(i, p, j) * w.at[j];
          dot[i * kSums] = fmaf(g, h, dot[i * kSums]);
          if constexpr (centred) {
            dot[i * kSums + 1] += g;
            db[p][j] += d.get(i, p, j);
          }
          dw[p][j] = fmaf(d.get(i, p, j), h, dw[p][j]);
        }
    }
    if (!dx) continue;
    sums(dot, sumBuffer(second));
#pragma unroll
    for (float& s : dot) s /= static_cast<float>(cols);
#pragma unroll
    for (int p = 0; p < packs; p++) {
      if (columnOf(p) >= cols) continue;
      const Floats<kVec> w = load<kVec>(weight + columnOf(p));
#pragma unroll
      for (int i = 0; i < rows; i++) {
        if (row + i >= end) continue;
        Floats<kVec> out;
#pragma unroll
        for (int j = 0; j < kVec; j++) {
          const float g = d.get(i, p, j) * w.at[j];
          out.at[j] = r[i] * ((centred ? g - dot[i * kSums + kSums - 1] : g) - (v.get(i, p, j) - m[i]) * r[i] * dot[i * kSums]);
        }
        accumulate<kVec>(dx.at(row + i, columnOf(p)), out, beta);
      }
    }
  }
  if (!slab.parts) return;
#pragma unroll
  for (int p = 0; p < packs; p++) {
    const int64_t col = columnOf(p);
    if (col >= cols) continue;
    float* to = slab.parts + blockIdx.x * (slab.bias ? 2 : 1) * cols + col;
    Floats<kVec> out;
#pragma unroll
    for (int j = 0; j < kVec; j++) out.at[j] = dw[p][j];
    store<kVec>(to, out);
    if (!slab.bias) continue;
#pragma unroll
    for (int j = 0; j < kVec; j++) out.at[j] = db[p][j];
    store<kVec>(to + cols, out);
  }
}

}  // namespace moe::cuda::norms
