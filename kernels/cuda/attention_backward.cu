// Attention backward in bf16 on tensor cores.
//
//   s = q k^T,  p = exp(scale s - lse),  dp = dout v^T,  ds = p (dp - delta) scale
//   keys' kernel:    dv += p^T dout,  dk += ds^T q        a block owns 64 keys of a group and walks the rows that see them
//   queries' kernel: dq += ds k                           a block owns 64 rows of a head and walks the keys that they see
//
// How it runs: 8 warps. Both kernels compute s and dp (each warp 16 rows by 32 keys), write p and ds to shared memory in bf16 and
// use them from there as they lie or transposed. Two kernels instead of atomics on dq: 7 products a pair of tiles instead of 5,
// and every sum has one order. What bounds it: tensor cores.
#include "attention.cuh"

namespace moe::cuda::attention {

namespace {

constexpr int kWarps = 8, kThreads = kWarps * kLanes;
constexpr int kAcross = 2;                                      // warps are 4 down by 2 across, over a 64 x 64 tile and over results
constexpr int kScoreFragments = kKeyTile / kAcross / 8;        // of a warp: 16 rows by 32 keys

/// Everything in shared memory, one after another.
template <class C> struct Shared {
  Tile q, dout, k, v, p, ds;
  float *lse, *delta;
  static constexpr size_t kBytes =
      ((kRowTile + kKeyTile) * (C::kDepth + C::kValues) + 2 * kRowTile * kKeyTile) * sizeof(bf16) + 2 * kRowTile * sizeof(float);
  __device__ Shared() {
    bf16* at = sharedMemory<bf16>();
    const auto tile = [&](int rows, int cols) {
      const Tile t{at, cols / kChunk};
      at += rows * cols;
      return t;
    };
    q = tile(kRowTile, C::kDepth);
    dout = tile(kRowTile, C::kValues);
    k = tile(kKeyTile, C::kDepth);
    v = tile(kKeyTile, C::kValues);
    p = tile(kRowTile, kKeyTile);
    ds = tile(kRowTile, kKeyTile);
    lse = reinterpret_cast<float*>(at);
    delta = lse + kRowTile;
  }
};

struct Aligned {
  bool q, k, v, dout;
};

/// Starts filling the rows' side of the tile: q, dout, and plain loads of lse and delta.
template <class C> __device__ __forceinline__ void fillRows(const Shared<C>& m, const Backward<bf16>& a, int head, int64_t first, const Aligned& aligned) {
  fillHead(m.q, kRowTile, a.f.q, head, first, a.f.n.rows, a.f.n.depth, aligned.q, kThreads);
  fillHead(m.dout, kRowTile, a.dout, head, first, a.f.n.rows, a.f.n.values, aligned.dout, kThreads);
  for (int i = threadIdx.x; i < kRowTile; i += kThreads) {
    const RowTile& tile = a.tileOf(first, head);
    m.lse[i] = tile.lse[i];
    m.delta[i] = tile.delta[i];
  }
}

template <class C> __device__ __forceinline__ void fillKeySide(const Shared<C>& m, const Backward<bf16>& a, int group, int64_t first, const Aligned& aligned) {
  fillKeys(m.k, kKeyTile, a.f, group, first, aligned.k, kThreads);
  fillHead(m.v, kKeyTile, a.f.v, group, first, a.f.n.keys, a.f.n.values, aligned.v, kThreads);
}

/// p and ds of the tile at (row, key) from q, k, dout, v, all in shared memory. Barriers are the caller's.
template <bool wantP, class C> __device__ __forceinline__ void scoreTile(const Shared<C>& m, const Backward<bf16>& a, int64_t row, int key) {
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  const int down = warp / kAcross * 16, across = warp % kAcross * (kKeyTile / kAcross);
  float s[1][kScoreFragments][4] = {}, dp[1][kScoreFragments][4] = {};
  multiply<false, false>(s, m.q, down, m.k, across, C::kDepth);
  multiply<false, false>(dp, m.dout, down, m.v, across, C::kValues);
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int r = down + fragment::c(lane, 2 * half).row;
    const Range range = row + r < a.f.n.rows ? a.f.ranges[row + r] : Range{0, 0};
    const float lse = m.lse[r], delta = m.delta[r];
#pragma unroll
    for (int j = 0; j < kScoreFragments; j++) {
      const int col = across + 8 * j + fragment::c(lane, 0).col;
      float p[2], ds[2];
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int at = key + col + e;
        p[e] = at >= range.begin && at < range.end ? ptx::exp2(s[0][j][2 * half + e] * a.f.n.scale * kLog2e - lse) : 0.f;
        ds[e] = p[e] * (dp[0][j][2 * half + e] - delta) * a.f.n.scale;
      }
      if constexpr (wantP) *reinterpret_cast<uint32_t*>(m.p.at(r, col)) = pack(p[0], p[1]);
      *reinterpret_cast<uint32_t*>(m.ds.at(r, col)) = pack(ds[0], ds[1]);
    }
  }
}

/// f(row in tile, column, value) for this thread's part of a 64-row result whose columns the warps share.
template <int cols, class F> __device__ __forceinline__ void eachResult(const float (&c)[1][cols][4], int down, int across, F f) {
  const int lane = threadIdx.x % kLanes;
#pragma unroll
  for (int j = 0; j < cols; j++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const fragment::Place place = fragment::c(lane, e);
      f(down + place.row, across + 8 * j + place.col, c[0][j][e]);
    }
}

template <class C> __global__ void __launch_bounds__(kThreads, 1) keyKernel(Backward<bf16> a, Aligned aligned) {
  constexpr int kDepthPart = C::kDepth / kAcross, kValuePart = C::kValues / kAcross;
  const Shared<C> m;
  const int warp = threadIdx.x / kLanes, down = warp / kAcross * 16, across = warp % kAcross;
  const int64_t key = blockIdx.x * int64_t{kKeyTile};
  const int group = blockIdx.y, each = a.f.n.heads / a.f.n.groups;
  float dk[1][kDepthPart / 8][4] = {}, dv[1][kValuePart / 8][4] = {};
  fillKeySide(m, a, group, key, aligned);
  ptx::commit();
  for (int64_t row = 0; row < a.f.n.rows; row += kRowTile) {
    const Bounds bounds = boundsOf(a.f.ranges, row, a.f.n.rows);
    if (bounds.end <= key || bounds.begin >= key + kKeyTile) continue;
    for (int head = group * each; head < (group + 1) * each; head++) {
      fillRows(m, a, head, row, aligned);
      ptx::commit();
      ptx::waitGroups<0>();
      __syncthreads();
      scoreTile<true>(m, a, row, static_cast<int>(key));
      __syncthreads();
      multiply<true, true>(dv, m.p, down, m.dout, across * kValuePart, kRowTile);
      multiply<true, true>(dk, m.ds, down, m.q, across * kDepthPart, kRowTile);
      __syncthreads();
    }
  }
  ptx::waitGroups<0>();
  const int shared = a.f.n.depth - a.f.n.own;
  if (a.dv.data)
    eachResult(dv, down, across * kValuePart, [&](int r, int col, float x) {
      if (key + r < a.f.n.keys && col < a.f.n.values) accumulate(a.dv.at(key + r, group) + col, x, a.dvBeta);
    });
  eachResult(dk, down, across * kDepthPart, [&](int r, int col, float x) {
    if (key + r >= a.f.n.keys || col >= a.f.n.depth) return;
    if (col < a.f.n.own) {
      if (a.dk.data) accumulate(a.dk.at(key + r, group) + col, x, a.dkBeta);
    } else if (a.sharedParts) a.sharedParts[(group * a.f.n.keys + key + r) * shared + col - a.f.n.own] = x;
  });
}

template <class C> __global__ void __launch_bounds__(kThreads, 1) queryKernel(Backward<bf16> a, Aligned aligned) {
  constexpr int kDepthPart = C::kDepth / kAcross;
  const Shared<C> m;
  const int warp = threadIdx.x / kLanes, down = warp / kAcross * 16, across = warp % kAcross;
  const int64_t row = (gridDim.x - 1 - blockIdx.x) * int64_t{kRowTile};
  const int head = blockIdx.y, group = head / (a.f.n.heads / a.f.n.groups);
  float dq[1][kDepthPart / 8][4] = {};
  fillRows(m, a, head, row, aligned);
  const Bounds bounds = boundsOf(a.f.ranges, row, a.f.n.rows);
  for (int key = bounds.begin; key < bounds.end; key += kKeyTile) {
    fillKeySide(m, a, group, key, aligned);
    ptx::commit();
    ptx::waitGroups<0>();
    __syncthreads();
    scoreTile<false>(m, a, row, key);
    __syncthreads();
    multiply<false, true>(dq, m.ds, down, m.k, across * kDepthPart, kKeyTile);
    __syncthreads();
  }
  ptx::commit();
  ptx::waitGroups<0>();
  eachResult(dq, down, across * kDepthPart, [&](int r, int col, float x) {
    if (row + r < a.f.n.rows && col < a.f.n.depth) accumulate(a.dq.at(row + r, head) + col, x, a.dqBeta);
  });
}

}  // namespace

namespace {
Aligned alignedOf(const Backward<bf16>& a) { return {alignedHeads(a.f.q), alignedKeys(a.f), alignedHeads(a.f.v), alignedHeads(a.dout)}; }
}  // namespace

bool tensorKeyGradient(const Backward<bf16>& a) {
  return withChannels(a.f.n, [&](auto c) {
    using C = decltype(c);
    if (Shared<C>::kBytes > machine::sharedLimit()) return false;
    launch(keyKernel<C>, dim3(blocks(divideUp(a.f.n.keys, int64_t{kKeyTile})), a.f.n.groups), kThreads, Shared<C>::kBytes, a, alignedOf(a));
    return true;
  });
}

bool tensorQueryGradient(const Backward<bf16>& a) {
  return withChannels(a.f.n, [&](auto c) {
    using C = decltype(c);
    if (Shared<C>::kBytes > machine::sharedLimit()) return false;
    launch(queryKernel<C>, dim3(blocks(divideUp(a.f.n.rows, int64_t{kRowTile})), a.f.n.heads), kThreads, Shared<C>::kBytes, a, alignedOf(a));
    return true;
  });
}

}  // namespace moe::cuda::attention
