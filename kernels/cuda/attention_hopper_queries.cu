// Gradients of queries on Hopper (attention_hopper_backward.cuh; attention.cu has the formulas).
//
//   s = q k^T,  p = exp(scale s - lse),  dp = dout v^T,  ds = p (dp - delta):  dq += scale ds k
//
// How it runs: a block owns 128 rows of a head and walks the keys that they see. p and ds never leave the registers; they are computed
// while dp and the dq of the tile before are multiplied. That s and dp are computed here too, and not only by the keys' kernel, is the
// price of sums in one order: 7 products a pair of tiles instead of 5. What bounds it: tensor cores, and shared memory for s and dp.
#include "attention_hopper_backward.cuh"

namespace moe::cuda::attention {

namespace {

struct alignas(8) Nothing {};

/// By the first warp of the block.
template <class P, class M> __device__ __forceinline__ void produceKeys(const M& m, const BackwardMaps& maps, const Backward<bf16>& a, int64_t first, int head, int group) {
  const bool chosen = threadIdx.x == 0;
  if (chosen) {
    ptx::arriveExpect(m.own, P::kOwnBytes);
    copyPanels<P::kDepth, kOwn>(m.ownA, maps.q, static_cast<int>(first), head * static_cast<int>(a.f.q.head), m.own);
    copyPanels<P::kValues, kOwn>(m.ownB, maps.dout, static_cast<int>(first), head * static_cast<int>(a.dout.head), m.own);
  }
  const Bounds bounds = boundsOf<kOwn>(a.f.ranges, first, a.f.n.rows);
  if (!chosen) return;
  int step = 0;
  for (int key = bounds.begin; key < bounds.end; key += P::kWalked, step++) {
    m.ring.awaitEmpty(step);
    ptx::arriveExpect(m.ring.full(step), P::kStageBytes);
    copyKeys<P::kDepth, P::kWalked>(m.a(step), maps.k, maps.shared, a.f.n.own, key, group * static_cast<int>(a.f.k.head), m.ring.full(step));
    copyPanels<P::kValues, P::kWalked>(m.b(step), maps.v, key, group * static_cast<int>(a.f.v.head), m.ring.full(step));
  }
}

/// By the warpgroup that owns rows [first + 64 own, ..).
template <class P, class M> __device__ __forceinline__ void consumeKeys(const M& m, const Backward<bf16>& a, int64_t first, int head, int own) {
  const Products<P, M> products(m, own);
  const Bounds bounds = boundsOf<kOwn>(a.f.ranges, first, a.f.n.rows);  // the block's tiles
  const int tiles = bounds.begin < bounds.end ? divideUp(bounds.end - bounds.begin, P::kWalked) : 0;
  first += own * kGroupRows;
  const Bounds mine = boundsOf<kGroupRows>(a.f.ranges, first, a.f.n.rows);
  const float log2 = a.f.n.scale * kLog2e;
  float lse[2] = {0, 0}, delta[2] = {0, 0};
  Range range[2] = {};
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int64_t row = first + rowOf(half);
    if (row >= a.f.n.rows) continue;
    const RowTile& tile = a.tileOf(row, head);
    lse[half] = tile.lse[row % kRowTile];
    delta[half] = tile.delta[row % kRowTile];
    range[half] = tile.range[row % kRowTile];
  }
  float dq[P::kDepth / 2], s[P::kWalked / 2], dp[P::kWalked / 2];
  uint32_t ds[P::kSteps][4];
#pragma unroll
  for (float& x : dq) x = 0;
  ptx::waitBarrier(m.own, 0);
  const auto probabilities = [&](int t) {
#pragma unroll
    for (int i = 0; i < P::kWalked / 2; i++) s[i] = ptx::exp2(s[i] * log2 - lse[i % 4 / 2]);
    const int key = bounds.begin + t * P::kWalked;
    if (key >= mine.allBegin && key + P::kWalked <= mine.allEnd) return;
#pragma unroll
    for (int i = 0; i < P::kWalked / 2; i++)
      if (!sees(range[i % 4 / 2], key + fragment::accumulator(threadIdx.x, i).col)) s[i] = 0;
  };
  const auto scoreGradients = [&] {
#pragma unroll
    for (int i = 0; i < P::kWalked / 2; i++) dp[i] = s[i] * (dp[i] - delta[i % 4 / 2]);
  };
  if (tiles > 0) {
    m.ring.awaitFull(0);
    ptx::wgmmaFence();
    products.scores(s, 0);
    products.gradients(dp, 0);
    ptx::wgmmaLanded<1>(s);
    probabilities(0);
    ptx::wgmmaLanded<0>(dp);
    scoreGradients();
    for (int t = 1; t < tiles; t++) {
      m.ring.awaitFull(t);
      ptx::wgmmaLanded<0>(dq);  // behind a loop, or the assembler would move it above what is to run under the product
      if (t > 1) m.ring.release(t - 2);
      packFragments(ds, dp);
      ptx::wgmmaFence();
      products.scores(s, t);
      products.gradients(dp, t);
      products.addA(dq, ds, t - 1);
      ptx::wgmmaLanded<2>(s);
      probabilities(t);
      ptx::wgmmaLanded<1>(dp);
      scoreGradients();
    }
    ptx::wgmmaLanded<0>(dq);
    packFragments(ds, dp);
    ptx::wgmmaFence();
    products.addA(dq, ds, tiles - 1);
    ptx::wgmmaLanded<0>(dq);
  }
  eachEight(dq, [&](int half, int col, Floats<8> x) {
    const int64_t row = first + rowOf(half);
    if (row >= a.f.n.rows) return;
#pragma unroll
    for (float& e : x.at) e *= a.f.n.scale;
    accumulate<8>(a.dq.at(row, head) + col, x, a.dqBeta);
  });
}

template <class P> __global__ void __launch_bounds__(kThreads, 1) queryKernel(const __grid_constant__ BackwardMaps maps, Backward<bf16> a) {
  const int64_t first = (gridDim.x - 1 - blockIdx.x) * int64_t{kOwn};  // rows that see most begin
  const int head = blockIdx.y, group = head / (a.f.n.heads / a.f.n.groups);
  const Memory<P, Nothing> m(sharedMemory<bf16>());
  if (threadIdx.x == 0) m.initBarriers();
  __syncthreads();
  const int warpgroup = __shfl_sync(kAll, static_cast<int>(threadIdx.x / kGroup), 0);
  if (warpgroup == 0) {
    ptx::giveRegisters<kProducerRegisters>();
    if (threadIdx.x < kLanes) produceKeys<P>(m, maps, a, first, head, group);
    return;
  }
  ptx::takeRegisters<kConsumerRegisters>();
  consumeKeys<P>(m, a, first, head, warpgroup - 1);
}

}  // namespace

bool hopperQueryGradient(const Backward<bf16>& a) {
  const Sizes& n = a.f.n;
  if (!machine::hasHopper() || !describableBackward(a) || !alignedHeads(a.dq)) return false;
  return withPanels(n, [&](auto c) {
    using P = Plan<decltype(c), 64, 3>;
    launch(queryKernel<P>, dim3(blocks(divideUp(n.rows, int64_t{kOwn})), n.heads), kThreads, Memory<P, Nothing>::kBytes, mapsOf(a, kOwn, P::kWalked), a);
    return true;
  });
}

}  // namespace moe::cuda::attention
