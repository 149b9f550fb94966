// What the attention kernels share: their arguments, the masks, and how keys reach shared memory.
#pragma once
#include "tile.cuh"

namespace moe::cuda::attention {

/// [rows, heads, channels] with rows and heads at any distance.
template <class T> struct Heads {
  T* data;
  int64_t row, head;
  __device__ __forceinline__ T* at(int64_t r, int64_t h) const { return data + r * row + h * head; }
};
template <class T> Heads<T> headsOf(const View& v) { return {static_cast<T*>(v.data), v.stride[0], v.stride[1]}; }

/// Row r of q sees the keys begin <= s < end.
struct Range {
  int begin, end;
};

struct Sizes {
  int64_t rows, keys;
  int heads, groups, depth, own, values;  ///< H, G, D = N + P, N, V
  float scale;
};

template <class T> struct Forward {
  Heads<T> o;
  float* lse;
  Heads<const T> q, k, v;
  Rows<const T> shared;
  const Range* ranges;
  Sizes n;
};

inline constexpr int kRowTile = 64, kKeyTile = 64;

/// What backward knows of the rows of a tile and head before it looks at keys; zeros beyond the last.
struct alignas(16) RowTile {
  float lse[kRowTile], delta[kRowTile];  ///< lse times log2(e); sum of dout o
  Range range[kRowTile];
};

template <class T> struct Backward {
  Forward<const T> f;      ///< o and lse are read here
  Heads<const T> dout;
  const RowTile* tiles;    ///< [H, R/64 rounded up]
  Heads<T> dq, dk, dv;
  float* sharedParts;      ///< [G,S,P] each group's part of dk_shared
  float dqBeta, dkBeta, dvBeta;
  __device__ const RowTile& tileOf(int64_t row, int head) const { return tiles[head * divideUp(f.n.rows, int64_t{kRowTile}) + row / kRowTile]; }
};

// -- any dtype and size, without tensor cores (attention_plain.cu) --
template <class T> void plainForward(const Forward<T>& a);
template <class T> void plainQueryGradient(const Backward<T>& a);
template <class T> void plainKeyGradient(const Backward<T>& a);

// -- bf16 on tensor cores; false when the sizes do not fit (attention_forward.cu, attention_backward.cu) --
bool tensorForward(const Forward<bf16>& a);
bool tensorKeyGradient(const Backward<bf16>& a);
bool tensorQueryGradient(const Backward<bf16>& a);

// -- the same on Hopper (attention_hopper_*.cu); false when the GPU is none or the sizes do not fit --
bool hopperForward(const Forward<bf16>& a);
bool hopperKeyGradient(const Backward<bf16>& a);
bool hopperQueryGradient(const Backward<bf16>& a);

// -- device code of the tensor kernels ------------------------------------------------------------------------------------

/// Softmax of two rows so far, of which four lanes hold a part each: the fragment's rows lane/4 and lane/4 + 8.
struct Running {
  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
};

/// Over the four lanes that share a row.
__device__ __forceinline__ float quadMost(float x) {
  x = fmaxf(x, __shfl_xor_sync(kAll, x, 1));
  return fmaxf(x, __shfl_xor_sync(kAll, x, 2));
}
__device__ __forceinline__ float quadSum(float x) {
  x += __shfl_xor_sync(kAll, x, 1);
  return x + __shfl_xor_sync(kAll, x, 2);
}

/// The keys that a tile of rows can see: any row from `begin` to `end`; all its rows from `allBegin` to `allEnd`.
struct Bounds {
  int begin, end, allBegin, allEnd;
};

/// Of rows [first, first + count), by each warp for itself.
template <int count = kRowTile> __device__ inline Bounds boundsOf(const Range* ranges, int64_t first, int64_t rows) {
  Bounds b{0x7fffffff, 0, 0, 0x7fffffff};
  for (int i = threadIdx.x % kLanes; i < count; i += kLanes) {
    const Range r = first + i < rows ? ranges[first + i] : Range{0, 0};
    if (r.begin < r.end) {
      b.begin = least(b.begin, r.begin);
      b.end = most(b.end, r.end);
    }
    b.allBegin = most(b.allBegin, r.begin);
    b.allEnd = least(b.allEnd, r.end);
  }
#pragma unroll
  for (int half = kLanes / 2; half > 0; half /= 2) {
    b.begin = least(b.begin, __shfl_xor_sync(kAll, b.begin, half));
    b.end = most(b.end, __shfl_xor_sync(kAll, b.end, half));
    b.allBegin = most(b.allBegin, __shfl_xor_sync(kAll, b.allBegin, half));
    b.allEnd = least(b.allEnd, __shfl_xor_sync(kAll, b.allEnd, half));
  }
  return b;
}

/// Rows [first, ..) of one head into a tile.
__device__ __forceinline__ void fillHead(const Tile& t, int rows, const Heads<const bf16>& x, int64_t head, int64_t first, int64_t end, int channels, bool aligned, int threads) {
  fillTile(t, rows, Source{x.data + head * x.head, x.row, aligned}, first, end, 0, channels, threads);
}

/// Keys [first, ..) of a group: own channels, then the shared ones.
__device__ __forceinline__ void fillKeys(const Tile& t, int rows, const Forward<const bf16>& f, int64_t group, int64_t first, bool aligned, int threads) {
  if (!f.shared) return fillHead(t, rows, f.k, group, first, f.n.keys, f.n.own, aligned, threads);
  for (int i = threadIdx.x; i < rows * t.chunks; i += threads) {
    const int r = i / t.chunks, col = i % t.chunks * kChunk;
    const int64_t key = first + r;
    const int valid = key < f.n.keys ? most(least(f.n.depth - col, kChunk), 0) : 0;
    bf16* to = t.chunk(r, col / kChunk);
    if (aligned) {  // then no chunk holds both kinds
      const bf16* from = col < f.n.own ? f.k.at(key, group) + col : f.shared.at(key, col - f.n.own);
      ptx::copyAsync(to, valid > 0 ? from : f.k.data, 2 * valid);
      continue;
    }
    Pack<bf16, kChunk> v;
#pragma unroll
    for (int j = 0; j < kChunk; j++) v.at[j] = j >= valid ? bf16{0} : col + j < f.n.own ? f.k.at(key, group)[col + j] : *f.shared.at(key, col + j - f.n.own);
    *reinterpret_cast<Pack<bf16, kChunk>*>(to) = v;
  }
}

template <class T> bool alignedHeads(const Heads<T>& x) {
  return reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && x.row % kChunk == 0 && x.head % kChunk == 0;
}
inline bool alignedKeys(const Forward<const bf16>& f) {
  if (!alignedHeads(f.k)) return false;
  return !f.shared || (f.n.own % kChunk == 0 && f.shared.stride % kChunk == 0 && reinterpret_cast<uintptr_t>(f.shared.data) % 16 == 0);
}

inline Forward<const bf16> readOnly(const Forward<bf16>& a) { return {{a.o.data, a.o.row, a.o.head}, a.lse, a.q, a.k, a.v, a.shared, a.ranges, a.n}; }

/// Calls run(template sizes) for the least pair of channel counts that holds depth and values; false when none does.
template <int depth, int values> struct Channels {
  static constexpr int kDepth = depth, kValues = values;
};
template <class F> bool withChannels(const Sizes& n, F&& run) {
  if (n.depth <= 64 && n.values <= 64) return run(Channels<64, 64>{});
  if (n.depth <= 128 && n.values <= 128) return run(Channels<128, 128>{});
  if (n.depth <= 192 && n.values <= 128) return run(Channels<192, 128>{});
  if (n.depth <= 256 && n.values <= 256) return run(Channels<256, 256>{});
  return false;
}

}  // namespace moe::cuda::attention
