// Attention forward in bf16 on Hopper: tensor copies, wgmma, warps that specialise (attention.cu has the formulas).
//
// How it runs: an item of work has 64 query rows of a head for each consumer warpgroup; a block takes one item after another. Of the
// first warpgroup, one warp asks a counter for the next item and finds the keys that its rows see, and one thread copies: queries
// once an item, keys and values tile by tile into a ring of stages each, already of the next item while consumers end the last. A
// consumer issues the scores of the next tile before it adds this tile's values, and turns those scores into probabilities while the
// values are multiplied; the probabilities stay in registers, where they are the left operand as they stand. `turns`: the consumers
// issue products in turn, so that one multiplies while the other exponentiates. Which block takes an item changes no bit of it.
// What bounds it: tensor cores, then exp2.
#include "attention_hopper.cuh"

namespace moe::cuda::attention {

namespace {

constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;

template <class C, int keys, int stages, bool turns> struct Plan {
  static constexpr int kDepth = C::kDepth, kValues = C::kValues, kKeys = keys, kStages = stages;
  static constexpr bool kTurns = turns;
};

/// What the rows of an item see.
struct alignas(16) Item {
  int row, head, group;  ///< row: the first, -1 where no item is left
  int key, tiles;  ///< of keys, from the first that any row sees
  int allBegin[kConsumers], allEnd[kConsumers];  ///< the keys that all rows of a consumer see
};

template <class P> struct Memory {
  bf16 *q, *k, *v;
  Item* items;
  Ring<2> work;
  Ring<1> queries;
  Ring<P::kStages> keys, values;
  ptx::Mbarrier* turn;
  static constexpr int kItems = 2, kKeyTile = P::kKeys * P::kDepth, kValueTile = P::kKeys * P::kValues, kQueries = kOwn * P::kDepth;  // elements
  static constexpr int kBarriers = Ring<2>::kBarriers + Ring<1>::kBarriers + 2 * Ring<P::kStages>::kBarriers + kConsumers;
  static constexpr size_t kBytes = (kQueries + P::kStages * (kKeyTile + kValueTile)) * sizeof(bf16) + kItems * sizeof(Item) + kBarriers * sizeof(ptx::Mbarrier);
  __device__ explicit Memory(bf16* arena)
      : q(arena), k(q + kQueries), v(k + P::kStages * kKeyTile), items(reinterpret_cast<Item*>(v + P::kStages * kValueTile)), work(reinterpret_cast<ptx::Mbarrier*>(items + kItems)),
        queries(work.fulls + work.kBarriers), keys(queries.fulls + queries.kBarriers), values(keys.fulls + keys.kBarriers), turn(values.fulls + values.kBarriers) {}
  __device__ bf16* keyTile(int t) const { return k + keys.stage(t) * kKeyTile; }
  __device__ bf16* valueTile(int t) const { return v + values.stage(t) * kValueTile; }
  __device__ Item& item(int step) const { return items[work.stage(step)]; }
  __device__ void initBarriers() const {
    work.init(1, kConsumerWarps + 1);  // and the warp that copies
    queries.init(1, kConsumerWarps);
    keys.init(1, kConsumerWarps);
    values.init(1, kConsumerWarps);
    for (int own = 0; own < kConsumers; own++) ptx::initBarrier(turn + own, kGroup / kLanes);
    ptx::fenceBarrierInit();
  }
};

struct Maps {
  TensorMap q, k, shared, v;
};

__global__ void __launch_bounds__(kLanes) clearKernel(int* counter) { counter[threadIdx.x] = 0; }

/// Finds items, by a warp. The first is the block's own; from then on the blocks share what is left.
template <class P> __device__ __forceinline__ void schedule(const Memory<P>& m, const Forward<bf16>& f, int* counter) {
  const int lane = threadIdx.x % kLanes, rows = static_cast<int>(f.n.rows), down = divideUp(rows, kOwn), items = down * f.n.heads;
  for (int step = 0, n = blockIdx.x;; step++) {
    if (lane == 0) m.work.awaitEmpty(step);
    __syncwarp();  // a lane that waited on its own could find the phase after next
    Item& item = m.item(step);
    const int row = n < items ? (down - 1 - n % down) * kOwn : -1, head = n / down;  // rows that see most begin
    int begin = 0x7fffffff, end = 0;
#pragma unroll 1
    for (int own = 0; row >= 0 && own < kConsumers; own++) {
      const Bounds b = boundsOf<kGroupRows>(f.ranges, row + own * kGroupRows, rows);
      begin = least(begin, b.begin);
      end = most(end, b.end);
      if (lane == 0) item.allBegin[own] = b.allBegin;
      if (lane == 0) item.allEnd[own] = b.allEnd;
    }
    if (lane == 0) {
      item.row = row;
      item.head = head;
      item.group = head / (f.n.heads / f.n.groups);
      item.key = begin;
      item.tiles = begin < end ? divideUp(end - begin, P::kKeys) : 0;
      ptx::arrive(m.work.full(step));
    }
    if (row < 0) return;
    n = items;
    if (gridDim.x < static_cast<unsigned>(items)) {
      if (lane == 0) n = static_cast<int>(gridDim.x) + atomicAdd(counter, 1);
      n = __shfl_sync(kAll, n, 0);
    }
  }
}

/// By one thread.
template <class P> __device__ __forceinline__ void copy(const Memory<P>& m, const Maps& maps, const Forward<bf16>& f) {
  for (int step = 0, t = 0;; step++) {
    m.work.awaitFull(step);
    const int row = m.item(step).row, head = m.item(step).head, group = m.item(step).group, end = t + m.item(step).tiles;
    int key = m.item(step).key;
    m.work.release(step);
    if (row < 0) return;
    m.queries.awaitEmpty(step);
    ptx::arriveExpect(m.queries.full(step), m.kQueries * static_cast<int>(sizeof(bf16)));
    copyPanels<P::kDepth, kOwn>(m.q, maps.q, row, head * static_cast<int>(f.q.head), m.queries.full(step));
    for (; t < end; t++, key += P::kKeys) {
      m.keys.awaitEmpty(t);
      ptx::arriveExpect(m.keys.full(t), m.kKeyTile * static_cast<int>(sizeof(bf16)));
      copyKeys<P::kDepth, P::kKeys>(m.keyTile(t), maps.k, maps.shared, f.n.own, key, group * static_cast<int>(f.k.head), m.keys.full(t));
      m.values.awaitEmpty(t);
      ptx::arriveExpect(m.values.full(t), m.kValueTile * static_cast<int>(sizeof(bf16)));
      copyPanels<P::kValues, P::kKeys>(m.valueTile(t), maps.v, key, group * static_cast<int>(f.v.head), m.values.full(t));
    }
  }
}

/// Two rows of this thread: the highest score and the sum of exponentials so far.
struct Running {
  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
};

__device__ __forceinline__ float quadMost(float x) {
  x = fmaxf(x, __shfl_xor_sync(kAll, x, 1));
  return fmaxf(x, __shfl_xor_sync(kAll, x, 2));
}
__device__ __forceinline__ float quadSum(float x) {
  x += __shfl_xor_sync(kAll, x, 1);
  return x + __shfl_xor_sync(kAll, x, 2);
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

/// By the warpgroup that owns the own-th 64 rows of every item.
template <class P> __device__ __forceinline__ void consume(const Memory<P>& m, const Forward<bf16>& f, int own) {
  constexpr int kSteps = P::kKeys / kStep;
  const float log2 = f.n.scale * kLog2e;
  const uint64_t q = ptx::descriptor(m.q + own * kGroupRows * kPanel);
  const auto issueScores = [&](float (&s)[P::kKeys / 2], int t) {
    multiplyChannels<P::kDepth, kOwn, P::kKeys>(s, q, ptx::descriptor(m.keyTile(t)));
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

  for (int step = 0, t = 0;; step++) {
    m.work.awaitFull(step);
    const Item& item = m.item(step);
    const int head = item.head, tiles = item.tiles, allBegin = item.allBegin[own], allEnd = item.allEnd[own], row = item.row;
    int key = item.key;
    __syncwarp();
    m.work.release(step);
    if (row < 0) return;
    const int64_t first = row + own * kGroupRows;
    Range range[2];
#pragma unroll
    for (int half = 0; half < 2; half++) range[half] = first + rowOf(half) < f.n.rows ? f.ranges[first + rowOf(half)] : Range{0, 0};
    const auto hide = [&](float (&s)[P::kKeys / 2]) {
      if (key < allBegin || key + P::kKeys > allEnd) mask(s, range, key);
    };
    Running run;
    float s[P::kKeys / 2], o[P::kValues / 2], fade[2];
    uint32_t p[kSteps][4];
#pragma unroll
    for (float& x : o) x = 0;
    m.queries.awaitFull(step);
    if (tiles == 0) {
      __syncwarp();
      m.queries.release(step);
    } else {
      const int end = t + tiles;
      m.keys.awaitFull(t);
      ptx::wgmmaFence();
      issueScores(s, t);
      ptx::wgmmaLanded<0>(s);
      m.keys.release(t);
      hide(s);
      softmaxStep(s, run, fade, log2);  // nothing is there yet that could fade
      packFragments(p, s);
      for (t++; t < end; t++) {
        key += P::kKeys;
        m.keys.awaitFull(t);
        awaitTurn();
        ptx::wgmmaFence();
        issueScores(s, t);
        m.values.awaitFull(t - 1);
        ptx::wgmmaFence();
        issueValues(o, p, t - 1);
        passTurn();
        ptx::wgmmaLanded<1>(s);
        m.keys.release(t);
        hide(s);
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
      m.queries.release(step);
      m.values.awaitFull(t - 1);
      ptx::wgmmaFence();
      issueValues(o, p, t - 1);
      ptx::wgmmaLanded<0>(o);
      m.values.release(t - 1);
    }
    deliver<P>(f, o, run, first, head);
  }
}

template <class P> __global__ void __launch_bounds__(kThreads, 1) forwardKernel(const __grid_constant__ Maps maps, Forward<bf16> f, int* counter) {
  const Memory<P> m(sharedMemory<bf16>());
  if (threadIdx.x == 0) m.initBarriers();
  __syncthreads();
  const int warpgroup = __shfl_sync(kAll, static_cast<int>(threadIdx.x / kGroup), 0);  // the same for the warp, and the compiler knows
  if (warpgroup == 0) {
    ptx::giveRegisters<kProducerRegisters>();
    if (threadIdx.x / kLanes == 1) schedule(m, f, counter);
    else if (threadIdx.x == 0) copy(m, maps, f);
    return;
  }
  ptx::takeRegisters<kConsumerRegisters>();
  consume(m, f, warpgroup - 1);
}

/// Key tile, stages and turns of each size.
template <class C> struct Chosen;
template <> struct Chosen<Channels<64, 64>> : Plan<Channels<64, 64>, 128, 2, true> {};
template <> struct Chosen<Channels<128, 128>> : Plan<Channels<128, 128>, 128, 2, true> {};
template <> struct Chosen<Channels<192, 128>> : Plan<Channels<192, 128>, 128, 2, false> {};

}  // namespace

bool hopperForward(const Forward<bf16>& a) {
  if (!machine::hasHopper() || !describable(a.q, a.n.rows, a.n.heads, a.n.depth) || !describableKeys(a) || !alignedHeads(a.o)) return false;
  return withPanels(a.n, [&](auto c) {
    using P = Chosen<decltype(c)>;
    const KeyMaps keys = keyMaps(a, P::kKeys);
    const Maps maps{mapOf(a.q, a.n.rows, a.n.heads, a.n.depth, kOwn), keys.own, keys.shared, mapOf(a.v, a.n.keys, a.n.groups, a.n.values, P::kKeys)};
    const unsigned items = blocks(divideUp(a.n.rows, int64_t{kOwn}) * a.n.heads);
    const unsigned grid = least(items, static_cast<unsigned>(machine::multiprocessors()));
    int* counter = machine::scratch<int>(0, kLanes);
    if (grid < items) launch(clearKernel, 1, kLanes, 0, counter);
    launch(forwardKernel<P>, grid, kThreads, Memory<P>::kBytes, maps, a, counter);
    return true;
  });
}

}  // namespace moe::cuda::attention
