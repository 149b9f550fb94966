// Attention forward in bf16 on tensor cores, the flash way: tiles of keys, softmax with a running maximum (Dao et al.,
// arXiv:2205.14135, 2307.08691).
//
// How it runs: a block takes 64 rows of one head, each of its 4 warps 16 of them: scores, probabilities and results of a row stay
// in the registers of four lanes. Keys and values pass through shared memory 64 at a time; the next keys are copied while the
// values are used and the other way round. Tiles that no row sees are skipped, the mask costs nothing where all rows see all
// keys. Later rows (in causal order the long ones) start first. What bounds it: tensor cores, with exp beside them.
#include "attention.cuh"

namespace moe::cuda::attention {

namespace {

constexpr int kWarps = 4, kThreads = kWarps * kLanes;

/// -inf where row (lane's two) does not see key.
template <int cols> __device__ __forceinline__ void mask(float (&s)[1][cols][4], const Range (&range)[2], int key, int lane) {
#pragma unroll
  for (int j = 0; j < cols; j++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int at = key + 8 * j + fragment::c(lane, e).col;
      const Range& r = range[e / 2];
      if (at < r.begin || at >= r.end) s[0][j][e] = -INFINITY;
    }
}

/// Scores become probabilities against the running maximum; returns by how much earlier results fade. log2: scale * log2(e).
template <int cols> __device__ __forceinline__ void softmaxStep(float (&s)[1][cols][4], Running& run, float (&fade)[2], float log2) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float top = run.top[half];
#pragma unroll
    for (int j = 0; j < cols; j++) top = fmaxf(top, fmaxf(s[0][j][2 * half], s[0][j][2 * half + 1]));
    top = quadMost(top);
    const float base = top == -INFINITY ? 0.f : top * log2;
    fade[half] = ptx::exp2(run.top[half] * log2 - base);
    float sum = 0;
#pragma unroll
    for (int j = 0; j < cols; j++)
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; e++) {
        s[0][j][e] = ptx::exp2(s[0][j][e] * log2 - base);
        sum += s[0][j][e];
      }
    run.top[half] = top;
    run.sum[half] = run.sum[half] * fade[half] + sum;  // of this lane's columns; the four lanes are added at the end
  }
}

template <class C> __global__ void __launch_bounds__(kThreads) forwardKernel(Forward<bf16> f, bool qAligned, bool kAligned, bool vAligned) {
  constexpr int kDepth = C::kDepth, kValues = C::kValues, kKeyFragments = kKeyTile / 8, kValueFragments = kValues / 8;
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  const int64_t first = (gridDim.x - 1 - blockIdx.x) * int64_t{kRowTile};
  const int head = blockIdx.y, group = head / (f.n.heads / f.n.groups);
  const Forward<const bf16> in{{f.o.data, f.o.row, f.o.head}, f.lse, f.q, f.k, f.v, f.shared, f.ranges, f.n};
  const Tile q{sharedMemory<bf16>(), kDepth / kChunk}, k{q.data + kRowTile * kDepth, kDepth / kChunk}, v{k.data + kKeyTile * kDepth, kValues / kChunk};
  const Bounds bounds = boundsOf(f.ranges, first, f.n.rows);
  const int tiles = bounds.begin < bounds.end ? divideUp(bounds.end - bounds.begin, kKeyTile) : 0;
  const auto keyOf = [&](int tile) { return bounds.begin + tile * kKeyTile; };
  const auto fillK = [&](int tile) {
    if (tile < tiles) fillKeys(k, kKeyTile, in, group, keyOf(tile), kAligned, kThreads);
    ptx::commit();
  };
  const auto fillV = [&](int tile) {
    if (tile < tiles) fillHead(v, kKeyTile, f.v, group, keyOf(tile), f.n.keys, f.n.values, vAligned, kThreads);
    ptx::commit();
  };

  int64_t row[2];
  Range range[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    row[half] = first + warp * 16 + fragment::c(lane, 2 * half).row;
    range[half] = row[half] < f.n.rows ? f.ranges[row[half]] : Range{0, 0};
  }
  Running run;
  float o[1][kValueFragments][4] = {};
  fillHead(q, kRowTile, f.q, head, first, f.n.rows, f.n.depth, qAligned, kThreads);
  fillK(0);
  fillV(0);
  for (int tile = 0; tile < tiles; tile++) {
    ptx::waitGroups<1>();  // q and k are here
    __syncthreads();
    float s[1][kKeyFragments][4] = {};
    multiply<false, false>(s, q, warp * 16, k, 0, kDepth);
    __syncthreads();
    fillK(tile + 1);
    if (keyOf(tile) < bounds.allBegin || keyOf(tile) + kKeyTile > bounds.allEnd) mask(s, range, keyOf(tile), lane);
    float fade[2];
    softmaxStep(s, run, fade, f.n.scale * kLog2e);
#pragma unroll
    for (int j = 0; j < kValueFragments; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) o[0][j][e] *= fade[e / 2];
    ptx::waitGroups<1>();  // v is here
    __syncthreads();
#pragma unroll
    for (int step = 0; step < kKeyTile / 16; step++) {  // probabilities are A fragments as they stand
      const auto& left = s[0][2 * step];
      const auto& right = s[0][2 * step + 1];
      const uint32_t a[4] = {pack(left[0], left[1]), pack(left[2], left[3]), pack(right[0], right[1]), pack(right[2], right[3])};
#pragma unroll
      for (int j = 0; j < kValueFragments; j += 2) {
        uint32_t b[4];
        loadB<true>(b, v, 16 * step, 8 * j);
        ptx::mma(o[0][j], a, b[0], b[1]);
        ptx::mma(o[0][j + 1], a, b[2], b[3]);
      }
    }
    __syncthreads();
    fillV(tile + 1);
  }
  ptx::waitGroups<0>();
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float sum = quadSum(run.sum[half]);
    if (row[half] >= f.n.rows) continue;
    const float inverse = sum > 0 ? 1 / sum : 0.f;
    if (lane % 4 == 0) f.lse[row[half] * f.n.heads + head] = sum > 0 ? run.top[half] * f.n.scale + logf(sum) : -INFINITY;
    bf16* out = f.o.at(row[half], head);
#pragma unroll
    for (int j = 0; j < kValueFragments; j++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int col = 8 * j + fragment::c(lane, e).col;
        if (col < f.n.values) put(out + col, o[0][j][2 * half + e] * inverse);
      }
  }
}

}  // namespace

bool tensorForward(const Forward<bf16>& a) {
  return withChannels(a.n, [&](auto c) {
    using C = decltype(c);
    constexpr size_t kShared = ((kRowTile + kKeyTile) * C::kDepth + kKeyTile * C::kValues) * sizeof(bf16);
    if (kShared > machine::sharedLimit()) return false;
    launch(forwardKernel<C>, dim3(blocks(divideUp(a.n.rows, int64_t{kRowTile})), a.n.heads), kThreads, kShared, a, alignedHeads(a.q), alignedKeys(readOnly(a)), alignedHeads(a.v));
    return true;
  });
}

}  // namespace moe::cuda::attention
