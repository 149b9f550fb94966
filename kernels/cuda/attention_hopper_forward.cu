// Attention forward in bf16 on Hopper: tensor copies, wgmma, warps that specialise (attention.cu has the formulas).
//
// How it runs: a block has 64 query rows for each of its consumer warpgroups. The producer, one thread of the first warpgroup,
// copies the queries once and then keys and values, tile by tile, into a ring of stages each. A consumer issues the scores of the
// next tile before it adds this tile's values, and turns those scores into probabilities while the values are multiplied; the
// probabilities stay in registers, where they are the left operand as they stand. `turns`: the consumers issue products in turn,
// so that one multiplies while the other exponentiates. Mbarriers: `full` (the bytes), `empty` (an arrival of each consumer warp)
// for each stage, one for the queries, one for each consumer's turn. What bounds it: tensor cores, then exp2.
#include "attention_hopper.cuh"

namespace moe::cuda::attention {

namespace {

template <class C, int keys, int stages, int consumers, bool turns> struct Plan {
  static constexpr int kDepth = C::kDepth, kValues = C::kValues, kKeys = keys, kStages = stages;
  static constexpr bool kTurns = turns;
  static_assert(!turns || consumers == 2);
  static constexpr int kRows = consumers * kGroupRows, kThreads = kGroup * (1 + consumers), kConsumerWarps = consumers * kGroup / kLanes;
  static constexpr int kProducerRegisters = consumers == 2 ? 24 : 32, kConsumerRegisters = consumers == 2 ? 240 : 160;
  static constexpr int kKeyTile = keys * kDepth, kValueTile = keys * kValues;  // elements
  static constexpr size_t kShared = (kRows * kDepth + stages * (kKeyTile + kValueTile)) * sizeof(bf16) + (2 * Ring<stages>::kBarriers + 3) * sizeof(ptx::Mbarrier);
};

template <class P> struct Memory {
  bf16 *q, *k, *v;
  Ring<P::kStages> keys, values;
  ptx::Mbarrier *queries, *turn;
  __device__ explicit Memory(bf16* arena)
      : q(arena), k(q + P::kRows * P::kDepth), v(k + P::kStages * P::kKeyTile), keys(reinterpret_cast<ptx::Mbarrier*>(v + P::kStages * P::kValueTile)),
        values(keys.fulls + keys.kBarriers), queries(values.fulls + values.kBarriers), turn(queries + 1) {}
  __device__ bf16* keyTile(int t) const { return k + keys.stage(t) * P::kKeyTile; }
  __device__ bf16* valueTile(int t) const { return v + values.stage(t) * P::kValueTile; }
  __device__ void initBarriers() const {
    keys.init(1, P::kConsumerWarps);
    values.init(1, P::kConsumerWarps);
    ptx::initBarrier(queries, 1);
    for (int own = 0; own < 2; own++) ptx::initBarrier(turn + own, kGroup / kLanes);
    ptx::fenceBarrierInit();
  }
};

struct Maps {
  TensorMap q, k, shared, v;
};

/// By the first warp of the block.
template <class P> __device__ __forceinline__ void produce(const Memory<P>& m, const Maps& maps, const Forward<bf16>& f, int64_t first, int head, int group) {
  const bool chosen = threadIdx.x == 0;
  if (chosen) {
    ptx::arriveExpect(m.queries, P::kRows * P::kDepth * static_cast<int>(sizeof(bf16)));
    copyPanels<P::kDepth, P::kRows>(m.q, maps.q, static_cast<int>(first), head * static_cast<int>(f.q.head), m.queries);
  }
  const Bounds bounds = boundsOf<P::kRows>(f.ranges, first, f.n.rows);
  if (!chosen) return;
  int t = 0;
  for (int key = bounds.begin; key < bounds.end; key += P::kKeys, t++) {
    m.keys.awaitEmpty(t);
    ptx::arriveExpect(m.keys.full(t), P::kKeyTile * static_cast<int>(sizeof(bf16)));
    copyKeys<P::kDepth, P::kKeys>(m.keyTile(t), maps.k, maps.shared, f.n.own, key, group * static_cast<int>(f.k.head), m.keys.full(t));
    m.values.awaitEmpty(t);
    ptx::arriveExpect(m.values.full(t), P::kValueTile * static_cast<int>(sizeof(bf16)));
    copyPanels<P::kValues, P::kKeys>(m.valueTile(t), maps.v, key, group * static_cast<int>(f.v.head), m.values.full(t));
  }
}

/// -inf where a row does not see a key.
template <int count> __device__ __forceinline__ void mask(float (&s)[count], const Range (&range)[2], int key) {
#pragma unroll
  for (int i = 0; i < count; i++) {
    const int at = key + fragment::accumulator(threadIdx.x, i).col;
    if (at < range[i % 4 / 2].begin || at >= range[i % 4 / 2].end) s[i] = -INFINITY;
  }
}

/// Scores become probabilities against the running maximum; returns by how much earlier results fade. log2: scale * log2(e).
/// Maxima and sums go in two chains a row.
template <int count> __device__ __forceinline__ void softmaxStep(float (&s)[count], Running& run, float (&fade)[2], float log2) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float tops[2] = {run.top[half], run.top[half]}, sums[2] = {0, 0};
#pragma unroll
    for (int i = 2 * half; i < count; i += 4)
#pragma unroll
      for (int e = 0; e < 2; e++) tops[e] = fmaxf(tops[e], s[i + e]);
    const float top = quadMost(fmaxf(tops[0], tops[1]));
    const float base = top == -INFINITY ? 0.f : top * log2;
    fade[half] = ptx::exp2(run.top[half] * log2 - base);
#pragma unroll
    for (int i = 2 * half; i < count; i += 4)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        s[i + e] = ptx::exp2(s[i + e] * log2 - base);
        sums[e] += s[i + e];
      }
    run.top[half] = top;
    run.sum[half] = run.sum[half] * fade[half] + (sums[0] + sums[1]);  // of this lane's columns; the four lanes are added at the end
  }
}

template <class P> __device__ __forceinline__ void deliver(const Forward<bf16>& f, const float (&o)[P::kValues / 2], const Running& run, int64_t first, int head) {
  float inverse[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int64_t row = first + rowOf(half);
    const float sum = quadSum(run.sum[half]);
    inverse[half] = sum > 0 ? 1 / sum : 0.f;
    if (row < f.n.rows && threadIdx.x % 4 == 0) f.lse[row * f.n.heads + head] = sum > 0 ? run.top[half] * f.n.scale + logf(sum) : -INFINITY;
  }
  eachEight(o, [&](int half, int col, Floats<8> x) {
    const int64_t row = first + rowOf(half);
    if (row >= f.n.rows) return;
#pragma unroll
    for (float& e : x.at) e *= inverse[half];
    store<8>(f.o.at(row, head) + col, x);
  });
}

/// By the warpgroup that owns rows [first + 64 own, ..).
template <class P> __device__ __forceinline__ void consume(const Memory<P>& m, const Forward<bf16>& f, int64_t first, int head, int own) {
  constexpr int kSteps = P::kKeys / kStep;
  const Bounds bounds = boundsOf<P::kRows>(f.ranges, first, f.n.rows);  // the block's tiles
  const int tiles = bounds.begin < bounds.end ? divideUp(bounds.end - bounds.begin, P::kKeys) : 0;
  first += own * kGroupRows;
  const Bounds mine = boundsOf<kGroupRows>(f.ranges, first, f.n.rows);
  const float log2 = f.n.scale * kLog2e;
  Range range[2];
#pragma unroll
  for (int half = 0; half < 2; half++) range[half] = first + rowOf(half) < f.n.rows ? f.ranges[first + rowOf(half)] : Range{0, 0};
  const auto hide = [&](float (&s)[P::kKeys / 2], int t) {
    const int key = bounds.begin + t * P::kKeys;
    if (key < mine.allBegin || key + P::kKeys > mine.allEnd) mask(s, range, key);
  };
  const uint64_t q = ptx::descriptor(m.q + own * kGroupRows * kPanel);
  const auto issueScores = [&](float (&s)[P::kKeys / 2], int t) {
    multiplyChannels<P::kDepth, P::kRows, P::kKeys>(s, q, ptx::descriptor(m.keyTile(t)));
    ptx::wgmmaCommit();
  };
  const auto issueValues = [&](float (&o)[P::kValues / 2], const uint32_t (&p)[kSteps][4], int t) {
    multiplyHeld(o, p, ptx::descriptorFirst(m.valueTile(t), P::kKeys * kPanelLine));
    ptx::wgmmaCommit();
  };
  int turns = 0;
  const auto awaitTurn = [&] {
    if constexpr (P::kTurns) ptx::waitBarrier(m.turn + own, (turns++ & 1) ^ (own == 0));  // the first consumer begins
  };
  const auto passTurn = [&] {
    if constexpr (P::kTurns)
      if (threadIdx.x % kLanes == 0) ptx::arrive(m.turn + (own ^ 1));
  };

  Running run;
  float s[P::kKeys / 2], o[P::kValues / 2], fade[2];
  uint32_t p[kSteps][4];
#pragma unroll
  for (float& x : o) x = 0;
  ptx::waitBarrier(m.queries, 0);
  if (tiles > 0) {
    m.keys.awaitFull(0);
    ptx::wgmmaFence();
    issueScores(s, 0);
    ptx::wgmmaLanded<0>(s);
    m.keys.release(0);
    hide(s, 0);
    softmaxStep(s, run, fade, log2);  // nothing is there yet that could fade
    packFragments(p, s);
    for (int t = 1; t < tiles; t++) {
      m.keys.awaitFull(t);
      awaitTurn();
      ptx::wgmmaFence();
      issueScores(s, t);
      m.values.awaitFull(t - 1);
      issueValues(o, p, t - 1);
      passTurn();
      ptx::wgmmaLanded<1>(s);
      m.keys.release(t);
      hide(s, t);
      softmaxStep(s, run, fade, log2);
      // The wait stands behind the vote: the assembler would move it above the softmax, which is to run under the product.
      if (__ballot_sync(kAll, fade[0] != 1 || fade[1] != 1)) {
        ptx::wgmmaLanded<0>(o);
#pragma unroll
        for (int i = 0; i < P::kValues / 2; i++) o[i] *= fade[i % 4 / 2];
      } else ptx::wgmmaLanded<0>(o);
      m.values.release(t - 1);
      packFragments(p, s);
    }
    m.values.awaitFull(tiles - 1);
    ptx::wgmmaFence();
    issueValues(o, p, tiles - 1);
    ptx::wgmmaLanded<0>(o);
  }
  deliver<P>(f, o, run, first, head);
}

template <class P> __global__ void __launch_bounds__(P::kThreads, 1) forwardKernel(const __grid_constant__ Maps maps, Forward<bf16> f) {
  const int64_t first = (gridDim.x - 1 - blockIdx.x) * int64_t{P::kRows};  // rows that see most begin
  const int head = blockIdx.y, group = head / (f.n.heads / f.n.groups);
  const Memory<P> m(sharedMemory<bf16>());
  if (threadIdx.x == 0) m.initBarriers();
  __syncthreads();
  const int warpgroup = __shfl_sync(kAll, static_cast<int>(threadIdx.x / kGroup), 0);  // the same for the warp, and the compiler knows
  if (warpgroup == 0) {
    ptx::giveRegisters<P::kProducerRegisters>();
    if (threadIdx.x < kLanes) produce(m, maps, f, first, head, group);
    return;
  }
  ptx::takeRegisters<P::kConsumerRegisters>();
  consume(m, f, first, head, warpgroup - 1);
}

/// Key tile, stages, consumers and turns of each size.
template <class C> struct Chosen;
template <> struct Chosen<Channels<64, 64>> : Plan<Channels<64, 64>, 128, 2, 3, false> {};
template <> struct Chosen<Channels<128, 128>> : Plan<Channels<128, 128>, 128, 2, 2, true> {};
template <> struct Chosen<Channels<192, 128>> : Plan<Channels<192, 128>, 128, 2, 2, false> {};

}  // namespace

bool hopperForward(const Forward<bf16>& a) {
  if (!machine::hasHopper() || !describable(a.q, a.n.rows, a.n.heads, a.n.depth) || !describableKeys(a) || !alignedHeads(a.o)) return false;
  return withPanels(a.n, [&](auto c) {
    using P = Chosen<decltype(c)>;
    const KeyMaps keys = keyMaps(a, P::kKeys);
    const Maps maps{mapOf(a.q, a.n.rows, a.n.heads, a.n.depth, P::kRows), keys.own, keys.shared, mapOf(a.v, a.n.keys, a.n.groups, a.n.values, P::kKeys)};
    launch(forwardKernel<P>, dim3(blocks(divideUp(a.n.rows, int64_t{P::kRows})), a.n.heads), P::kThreads, P::kShared, maps, a);
    return true;
  });
}

}  // namespace moe::cuda::attention
