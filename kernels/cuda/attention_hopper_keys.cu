// Gradients of keys and values on Hopper (attention_hopper_backward.cuh; attention.cu has the formulas).
//
//   s = k q^T,  p = exp(scale s - lse),  dp = v dout^T,  ds = p (dp - delta):  dv += p dout,  dk += scale ds q
//
// How it runs: a block owns 128 keys of a group and walks the tiles of rows that see them, for each query head. s and dp are computed
// with keys along the rows, so that p and ds, which never leave the registers, are the left operands of dv and dk as they stand. The
// producer, a warp, looks the tiles up in a list of what each tile sees, made by a kernel before, and brings lse, delta and ranges
// along. Where registers suffice, probabilities are computed under the last dk and their gradients under dv; at 192/128 the
// accumulators take 160 registers of 240, and the two warpgroups hide each other's arithmetic. What bounds it: tensor cores, and
// shared memory for s and dp, whose operands both lie there.
#include "attention_hopper_backward.cuh"

namespace moe::cuda::attention {

namespace {

/// What the keys' kernel knows of a stage beside queries and gradients of the result.
struct SeenRows {
  RowTile rows;
  int allBegin, allEnd;  ///< all rows see the keys between
  int more, unused;      ///< more: 0 in the stage after the last
};

/// Registers suffice to keep p in f32 beside its fragments, and to compute while a product is in flight.
template <class P> inline constexpr bool kSpare = P::kDepth + P::kValues <= 256;
template <class P> inline constexpr int kUnder = kSpare<P> ? 1 : 0;

/// What each tile of rows sees.
__global__ void __launch_bounds__(kLanes * 8) boundsKernel(Bounds* to, const Range* ranges, int64_t rows) {
  const int64_t tile = blockIdx.x * int64_t{8} + threadIdx.x / kLanes;
  if (tile * kRowTile >= rows) return;
  const Bounds b = boundsOf(ranges, tile * kRowTile, rows);
  if (threadIdx.x % kLanes == 0) to[tile] = b;
}

/// By the first warp of the block.
template <class P, class M> __device__ __forceinline__ void produceRows(const M& m, const BackwardMaps& maps, const Backward<bf16>& a, const Bounds* seen, int key, int group) {
  const int lane = threadIdx.x, each = a.f.n.heads / a.f.n.groups, tiles = static_cast<int>(divideUp(a.f.n.rows, int64_t{kRowTile}));
  if (lane == 0) {
    ptx::arriveExpect(m.own, P::kOwnBytes);
    copyKeys<P::kDepth, kOwn>(m.ownA, maps.k, maps.shared, a.f.n.own, key, group * static_cast<int>(a.f.k.head), m.own);
    copyPanels<P::kValues, kOwn>(m.ownB, maps.v, key, group * static_cast<int>(a.f.v.head), m.own);
  }
  int step = 0;
  const auto fill = [&](int tile, int head) {
    m.ring.awaitEmpty(step);
    SeenRows& extra = m.of(step);
    extra.allBegin = seen[tile].allBegin;
    extra.allEnd = seen[tile].allEnd;
    extra.more = 1;
    ptx::arriveExpect(m.ring.full(step), P::kStageBytes + static_cast<int>(sizeof(RowTile)));
    copyPanels<P::kDepth, P::kWalked>(m.a(step), maps.q, tile * kRowTile, head * static_cast<int>(a.f.q.head), m.ring.full(step));
    copyPanels<P::kValues, P::kWalked>(m.b(step), maps.dout, tile * kRowTile, head * static_cast<int>(a.dout.head), m.ring.full(step));
    ptx::copyBytes(&extra.rows, &a.tileOf(int64_t{tile} * kRowTile, head), sizeof(RowTile), m.ring.full(step));
    step++;
  };
  for (int base = 0; base < tiles; base += kLanes) {
    const Bounds mine = base + lane < tiles ? seen[base + lane] : Bounds{0, 0, 0, 0};
    unsigned visible = __ballot_sync(kAll, mine.end > key && mine.begin < key + kOwn);
    for (; lane == 0 && visible; visible &= visible - 1)
      for (int head = group * each; head < (group + 1) * each; head++) fill(base + __ffs(visible) - 1, head);
    __syncwarp();
  }
  if (lane != 0) return;
  m.ring.awaitEmpty(step);
  m.of(step).more = 0;
  ptx::arrive(m.ring.full(step));
}

/// Scores of keys [key, ..) by the tile's rows become probabilities.
template <int count> __device__ __forceinline__ void probabilities(float (&s)[count], const SeenRows& tile, float log2, int key) {
  static_assert(count == 32);
  const fragment::Place first = fragment::accumulator(threadIdx.x, 0);
#pragma unroll
  for (int i = 0; i < count; i += 4) {
    const Floats<2> lse = load<2>(tile.rows.lse + first.col + 2 * i);
#pragma unroll
    for (int e = 0; e < 4; e++) s[i + e] = ptx::exp2(s[i + e] * log2 - lse.at[e % 2]);
  }
  if (tile.allBegin <= key && key + kGroupRows <= tile.allEnd) return;
  uint32_t seen = 0;  // a bit for each accumulator: registers are short here
#pragma unroll 1
  for (int i = 0; i < count; i += 4)
    for (int e = 0; e < 4; e++) seen |= static_cast<uint32_t>(sees(tile.rows.range[first.col + 2 * i + e % 2], key + first.row + e / 2 * 8)) << (i + e);
#pragma unroll
  for (int i = 0; i < count; i++)
    if (!(seen >> i & 1)) s[i] = 0;
}

/// By the warpgroup that owns keys [key, ..).
template <class P, class M> __device__ __forceinline__ void consumeRows(const M& m, const Backward<bf16>& a, int key, int group, int own) {
  const Products<P, M> products(m, own);
  const float log2 = a.f.n.scale * kLog2e;
  float dk[P::kDepth / 2], dv[P::kValues / 2], s[P::kWalked / 2], dp[P::kWalked / 2];
  uint32_t p[P::kSteps][4], ds[P::kSteps][4];
#pragma unroll
  for (float& x : dk) x = 0;
#pragma unroll
  for (float& x : dv) x = 0;
  key += own * kGroupRows;
  const auto scoreGradients = [&](int step) {
#pragma unroll
    for (int i = 0; i < P::kWalked / 2; i += 4) {
      const Floats<2> delta = load<2>(m.of(step).rows.delta + fragment::accumulator(threadIdx.x, i).col);
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const float probability = kSpare<P> ? s[i + e] : widen(bf16{static_cast<uint16_t>(p[i / 8][(i + e) % 8 / 2] >> 16 * (e % 2))});
        dp[i + e] = probability * (dp[i + e] - delta.at[e % 2]);
      }
    }
  };
  ptx::waitBarrier(m.own, 0);
  m.ring.awaitFull(0);
  if (m.of(0).more) {
    ptx::wgmmaFence();
    products.scores(s, 0);
    ptx::wgmmaLanded<0>(s);
    int step = 0;
    while (true) {  // all products have ended before others begin twice a tile: across it the assembler would run them one by one
      probabilities(s, m.of(step), log2, key);
      ptx::wgmmaLanded<0>(dk);
      if (step > 0) m.ring.releaseRead(step - 1);
      packFragments(p, s);
      ptx::wgmmaFence();
      products.gradients(dp, step);
      products.addB(dv, p, step);
      ptx::wgmmaLanded<kUnder<P>>(dp);
      scoreGradients(step);
      m.ring.awaitFull(step + 1);
      ptx::wgmmaLanded<0>(dv);
      packFragments(ds, dp);
      if (!m.of(step + 1).more) break;
      ptx::wgmmaFence();
      products.scores(s, step + 1);
      products.addA(dk, ds, step);
      ptx::wgmmaLanded<kUnder<P>>(s);
      step++;
    }
    ptx::wgmmaFence();
    products.addA(dk, ds, step);
    ptx::wgmmaLanded<0>(dk);
  }
  if (a.dv.data)
    eachEight(dv, [&](int half, int col, Floats<8> x) {
      if (key + rowOf(half) < a.f.n.keys) accumulate<8>(a.dv.at(key + rowOf(half), group) + col, x, a.dvBeta);
    });
  eachEight(dk, [&](int half, int col, Floats<8> x) {
    const int64_t at = key + rowOf(half);
    if (at >= a.f.n.keys) return;
#pragma unroll
    for (float& e : x.at) e *= a.f.n.scale;
    if (col < a.f.n.own) {
      if (a.dk.data) accumulate<8>(a.dk.at(at, group) + col, x, a.dkBeta);
    } else if (a.sharedParts) store<8>(a.sharedParts + (group * a.f.n.keys + at) * (P::kDepth - a.f.n.own) + col - a.f.n.own, x);
  });
}

template <class P> __global__ void __launch_bounds__(kThreads, 1) hopperKeyKernel(const __grid_constant__ BackwardMaps maps, Backward<bf16> a, const Bounds* seen) {
  const int key = blockIdx.x * kOwn, group = blockIdx.y;
  const Memory<P, SeenRows> m(sharedMemory<bf16>());
  if (threadIdx.x == 0) m.initBarriers();
  __syncthreads();
  const int warpgroup = __shfl_sync(kAll, static_cast<int>(threadIdx.x / kGroup), 0);
  if (warpgroup == 0) {
    ptx::giveRegisters<kProducerRegisters>();
    if (threadIdx.x < kLanes) produceRows<P>(m, maps, a, seen, key, group);
    return;
  }
  ptx::takeRegisters<kConsumerRegisters>();
  consumeRows<P>(m, a, key, group, warpgroup - 1);
}

}  // namespace

bool hopperKeyGradient(const Backward<bf16>& a) {
  const Sizes& n = a.f.n;
  const auto fits = [](const auto& x) { return !x.data || alignedHeads(x); };
  if (!machine::hasHopper() || !describableBackward(a) || !fits(a.dk) || !fits(a.dv)) return false;
  return withPanels(n, [&](auto c) {
    using P = Plan<decltype(c), kRowTile, 3>;
    const int64_t tiles = divideUp(n.rows, int64_t{kRowTile});
    Bounds* seen = machine::scratch<Bounds>(2, tiles);
    launch(boundsKernel, blocks(divideUp(tiles, int64_t{8})), kLanes * 8, 0, seen, a.f.ranges, n.rows);
    launch(hopperKeyKernel<P>, dim3(blocks(divideUp(n.keys, int64_t{kOwn})), n.groups), kThreads, Memory<P, SeenRows>::kBytes, mapsOf(a, kRowTile, kOwn), a, seen);
    return true;
  });
}

}  // namespace moe::cuda::attention
