// What the attention kernels of Hopper share: who copies what, tiles of 64-column panels, products over them, results.
//
// A tile lies in shared memory as panels: [rows, 64] of bf16 in lines of 128 bytes, as copyBox leaves them, one panel after the
// other. Queries and keys have channels along a line; a product over keys (or queries) takes them as lines that are k.
#pragma once
#include <hopper.cuh>

#include "attention.cuh"

namespace moe::cuda::attention {

inline constexpr int kGroup = 128;   ///< threads of a warpgroup
inline constexpr int kGroupRows = 64;  ///< of a warpgroup's products
inline constexpr int kPanel = 64, kStep = 16;
inline constexpr int kPanelLine = kPanel * static_cast<int>(sizeof(bf16)), kStepLines = kStep * kPanelLine;  // bytes

/// The mbarriers of a ring: step s uses stage s % stages in round s / stages. A stage is full after `arrivals` and its bytes, empty
/// when every consumer warp has released it.
template <int stages> struct Ring {
  ptx::Mbarrier *fulls, *empties;
  static constexpr int kBarriers = 2 * stages;
  __device__ explicit Ring(ptx::Mbarrier* first) : fulls(first), empties(first + stages) {}
  __device__ static int stage(int step) { return step % stages; }
  __device__ ptx::Mbarrier* full(int step) const { return fulls + stage(step); }
  __device__ void init(int arrivals, int consumerWarps) const {
    for (int i = 0; i < stages; i++) {
      ptx::initBarrier(fulls + i, arrivals);
      ptx::initBarrier(empties + i, consumerWarps);
    }
  }
  __device__ void awaitEmpty(int step) const { ptx::waitBarrier(empties + stage(step), (step / stages & 1) ^ 1); }  // the first round finds its stages empty
  __device__ void awaitFull(int step) const { ptx::waitBarrier(full(step), step / stages & 1); }
  __device__ void release(int step) const {
    if (threadIdx.x % kLanes == 0) ptx::arrive(empties + stage(step));
  }
  /// The same where lanes have read the stage themselves, not by wgmma alone.
  __device__ void releaseRead(int step) const {
    __syncwarp();
    release(step);
  }
};

/// The descriptor of what lies `bytes` further.
__device__ __forceinline__ uint64_t ahead(uint64_t descriptor, int bytes) { return descriptor + static_cast<uint64_t>(bytes >> 4); }

/// d = a b^T over `depth` channels: 64 rows of a, n of b; panels of a and b have aRows and bRows rows.
template <int depth, int aRows, int bRows, int count> __device__ __forceinline__ void multiplyChannels(float (&d)[count], uint64_t a, uint64_t b) {
  ptx::wgmmaForget(d);
#pragma unroll
  for (int k = 0; k < depth; k += kStep) {
    const int in = k % kPanel * static_cast<int>(sizeof(bf16));
    ptx::wgmma(d, ahead(a, k / kPanel * aRows * kPanelLine + in), ahead(b, k / kPanel * bRows * kPanelLine + in), k > 0);
  }
}
/// d += a b with a in registers, over 16 rows of b a step; b's lines are k.
template <int steps, int count> __device__ __forceinline__ void multiplyHeld(float (&d)[count], const uint32_t (&a)[steps][4], uint64_t b) {
#pragma unroll
  for (int s = 0; s < steps; s++) ptx::wgmma<true>(d, a[s], ahead(b, s * kStepLines), true);
}
/// Accumulators of a product, [64 x 16 steps], as the A fragments of the next.
template <int steps, int count> __device__ __forceinline__ void packFragments(uint32_t (&a)[steps][4], const float (&s)[count]) {
  static_assert(count == 8 * steps);
#pragma unroll
  for (int i = 0; i < count; i += 2) a[i / 8][i % 8 / 2] = pack(s[i], s[i + 1]);
}

/// f(half, column, eight values) for this thread's part of a result [64 x n]: half is one of its two rows. The lanes of a quad
/// exchange pairs of columns, so that each has eight in a row of every fourth fragment.
template <int count, class F> __device__ __forceinline__ void eachEight(const float (&c)[count], F f) {
  const int quad = threadIdx.x % 4;
  const bool upper = quad & 2, odd = quad & 1;
#pragma unroll
  for (int j = 0; j < count; j += 16)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      Floats<8> out;
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const auto x = [&](int fragment) { return c[j + 4 * fragment + 2 * half + e]; };
        float two[2][2];  // [fragment of this pair of lanes][from the lower, the upper pair]
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const float got = __shfl_xor_sync(kAll, upper ? x(i) : x(2 + i), 2);
          two[i][0] = upper ? got : x(i);
          two[i][1] = upper ? x(2 + i) : got;
        }
#pragma unroll
        for (int pair = 0; pair < 2; pair++) {
          const float got = __shfl_xor_sync(kAll, odd ? two[0][pair] : two[1][pair], 1);
          out.at[4 * pair + e] = odd ? got : two[0][pair];
          out.at[4 * pair + 2 + e] = odd ? two[1][pair] : got;
        }
      }
      f(half, j * 2 + quad * 8, out);
    }
}

/// Row (0 to 63) of this thread's accumulators 2 half and 2 half + 1.
__device__ __forceinline__ int rowOf(int half) { return fragment::accumulator(threadIdx.x, 2 * half).row; }

/// Starts copying rows [row, ..) and `channels` from column col on into panels of `rows` rows.
template <int channels, int rows> __device__ __forceinline__ void copyPanels(bf16* to, const TensorMap& map, int row, int col, ptx::Mbarrier* full) {
#pragma unroll
  for (int c = 0; c < channels; c += kPanel) ptx::copyBox(to + c * rows, map, row, col + c, full);
}

// -- on the host ------------------------------------------------------------------------------------------------------------

/// Whether rows with their heads beside each other form a matrix that tensor copies can describe.
template <class T> bool describable(const Heads<T>& x, int64_t rows, int heads, int channels) {
  return alignedHeads(x) && channels % kPanel == 0 && (heads - 1) * x.head + channels <= x.row && rows > 0 && rows < 0x7fffff00 && x.row < 0x7fffff00;
}
template <class T> TensorMap mapOf(const Heads<T>& x, int64_t rows, int heads, int channels, int boxRows) {
  return machine::tensorMap(x.data, rows, (heads - 1) * x.head + channels, x.row, boxRows);
}

/// Keys as tensor copies see them: own channels, and those that all groups share.
struct KeyMaps {
  TensorMap own, shared;
};
/// Starts copying keys [key, ..) of a group.
template <int depth, int rows> __device__ __forceinline__ void copyKeys(bf16* to, const TensorMap& own, const TensorMap& shared, int ownChannels, int key, int col, ptx::Mbarrier* full) {
#pragma unroll
  for (int c = 0; c < depth; c += kPanel)
    ptx::copyBox(to + c * rows, c < ownChannels ? own : shared, key, c < ownChannels ? col + c : c - ownChannels, full);
}
template <class O> bool describableKeys(const Forward<O>& f) {
  if (!describable(f.k, f.n.keys, f.n.groups, f.n.own) || !describable(f.v, f.n.keys, f.n.groups, f.n.values)) return false;
  const int64_t rest = f.n.depth - f.n.own;
  return !f.shared || describable(Heads<const bf16>{f.shared.data, f.shared.stride, 0}, f.n.keys, 1, static_cast<int>(rest));
}
template <class O> KeyMaps keyMaps(const Forward<O>& f, int boxRows) {
  const TensorMap own = mapOf(f.k, f.n.keys, f.n.groups, f.n.own, boxRows);
  return {own, f.shared ? machine::tensorMap(f.shared.data, f.n.keys, f.n.depth - f.n.own, f.shared.stride, boxRows) : own};
}

/// Calls run(template sizes) where the heads have just those channels; false otherwise.
template <class F> bool withPanels(const Sizes& n, F&& run) {
  if (n.depth == 64 && n.values == 64) return run(Channels<64, 64>{});
  if (n.depth == 128 && n.values == 128) return run(Channels<128, 128>{});
  if (n.depth == 192 && n.values == 128) return run(Channels<192, 128>{});
  return false;
}

}  // namespace moe::cuda::attention
