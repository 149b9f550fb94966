// Products of bf16 on Hopper: tensor copies (TMA) and wgmma, with warps that specialise. NOT YET MEASURED: only TRAIN_MOE_GEMM=hopper
// runs it, until a GPU has shown that it is right and faster than tensor.cu.
//
//   c[m][n] = start[m][n] + sum over k of a[m][k] b[n][k]       both operands with rows along k; one b, or one to each group of rows
//
// How it runs: a block computes 128 x 128 of c with three warpgroups. The first is the producer: one thread waits for an empty
// stage of the ring, says how many bytes the stage will hold, and starts the two copies, which bring the swizzle and the zeros
// beyond the edges. The other two are consumers: each multiplies 64 rows by 128 columns, one step of wgmma in flight, and gives a
// stage back when the step after it has been issued and its own is done. Two mbarriers a stage: `full` (one arrival and the
// bytes) and `empty` (an arrival of each consumer warp). A group's tiles begin at its first row; where they reach beyond its last
// row or column they multiply the neighbour's too, and do not write that. The copy engine cannot gather: where a's rows are looked
// up, the producer's 128 threads bring them by cp.async, one stage ahead of the one they report, and `full` has an arrival of each
// producer warp more. What bounds it: the tensor cores.
#include <hopper.cuh>

#include "../tile.cuh"
#include "common.cuh"

namespace moe::cuda::gemm {

namespace {

constexpr int kRows = 128, kCols = 128, kDepth = 64, kStages = 4;
constexpr int kGroup = 128, kConsumers = 2, kThreads = kGroup * (1 + kConsumers), kGroupWarps = kGroup / kLanes, kConsumerWarps = kConsumers * kGroupWarps;
constexpr int kGroupRows = kRows / kConsumers, kStep = 16;
constexpr int kTileA = kRows * kDepth, kTileB = kCols * kDepth, kStage = kTileA + kTileB;  // elements
constexpr int kStageBytes = kStage * static_cast<int>(sizeof(bf16));
constexpr size_t kShared = size_t{kStages} * kStageBytes + 2 * kStages * sizeof(ptx::Mbarrier);

/// Stages of a ring: step s uses stage s % kStages in round s / kStages.
struct Ring {
  bf16* tiles;
  ptx::Mbarrier *full, *empty;
  __device__ bf16* a(int step) const { return tiles + step % kStages * kStage; }
  __device__ bf16* b(int step) const { return a(step) + kTileA; }
  __device__ static uint32_t parity(int step) { return step / kStages & 1; }
};

/// rowA, rowB: where the tile begins in a and in b.
__device__ __forceinline__ void produce(const Ring& ring, const TensorMap& a, const TensorMap& b, int rowA, int rowB, int steps) {
  for (int step = 0; step < steps; step++) {
    ptx::Mbarrier* full = ring.full + step % kStages;
    ptx::waitBarrier(ring.empty + step % kStages, Ring::parity(step) ^ 1);  // the first round finds its stages empty
    ptx::arriveExpect(full, kStageBytes);
    ptx::copyBox(ring.a(step), a, rowA, step * kDepth, full);
    ptx::copyBox(ring.b(step), b, rowB, step * kDepth, full);
  }
}

/// As produce(), by the whole warpgroup, with a's rows looked up.
__device__ __forceinline__ void produceGathered(const Ring& ring, const Product& p, const Part& part, const TensorMap& b, int rowB, int steps) {
  const Source a{static_cast<const bf16*>(p.a.data), p.a.stride, true, p.a.gather};
  const auto report = [&](int step) {  // this warp's rows of that step have come
    ptx::fenceAsyncProxy();
    __syncwarp();
    if (threadIdx.x % kLanes == 0) ptx::arrive(ring.full + step % kStages);
  };
  for (int step = 0; step < steps; step++) {
    ptx::Mbarrier* full = ring.full + step % kStages;
    ptx::waitBarrier(ring.empty + step % kStages, Ring::parity(step) ^ 1);
    if (threadIdx.x == 0) {
      ptx::arriveExpect(full, kTileB * static_cast<int>(sizeof(bf16)));
      ptx::copyBox(ring.b(step), b, rowB, step * kDepth, full);
    }
    fillTile(Tile{ring.a(step), kDepth / kChunk}, kRows, a, part.row, part.rowEnd, int64_t{step} * kDepth, p.k, kGroup);
    ptx::commit();
    ptx::waitGroups<1>();
    if (step > 0) report(step - 1);
  }
  ptx::waitGroups<0>();
  if (steps > 0) report(steps - 1);
}

__device__ __forceinline__ void consume(float (&sums)[kCols / 2], const Ring& ring, int group, int steps) {
  const auto release = [&](int step) {
    if (threadIdx.x % kLanes == 0) ptx::arrive(ring.empty + step % kStages);
  };
  for (int step = 0; step < steps; step++) {
    ptx::waitBarrier(ring.full + step % kStages, Ring::parity(step));
    ptx::wgmmaFence();
#pragma unroll
    for (int k = 0; k < kDepth; k += kStep)
      ptx::wgmma(sums, ptx::descriptor(ring.a(step) + group * kGroupRows * kDepth + k), ptx::descriptor(ring.b(step) + k), step > 0 || k > 0);
    ptx::wgmmaCommit();
    ptx::wgmmaWait<1>(sums);
    if (step > 0) release(step - 1);
  }
  ptx::wgmmaWait<0>(sums);
}

__device__ __forceinline__ void finish(const float (&sums)[kCols / 2], const Product& p, bool paired, int64_t row, int64_t rowEnd, int64_t col) {
#pragma unroll
  for (int i = 0; i < kCols / 2; i += 2) {
    const fragment::Place place = fragment::accumulator(threadIdx.x, i);
    const int64_t r = row + place.row, at = col + place.col, to = r * p.c.stride + at;
    if (r >= rowEnd || at >= p.n) continue;
    if (paired) deliverTwo(p, to, at, sums[i], sums[i + 1]);
    else {
      deliver(p, to, at, sums[i]);
      if (at + 1 < p.n) deliver(p, to + 1, at + 1, sums[i + 1]);
    }
  }
}

template <bool gathered>
__global__ void __launch_bounds__(kThreads, 1)
    hopperKernel(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, Product p, bool paired, int64_t tilesDown) {
  const TileAt tile = tileAt(blockIdx.x, tilesDown, tilesOf(p.n, kCols));
  const Part part = partOf(p, tile.down, kRows);
  if (part.empty) return;
  const int col = static_cast<int>(tile.across) * kCols;
  const int steps = static_cast<int>(divideUp(part.kEnd - part.k, int64_t{kDepth}));  // 0 for rows of nobody
  bf16* tiles = sharedMemory<bf16>();
  auto* barriers = reinterpret_cast<ptx::Mbarrier*>(tiles + kStages * kStage);
  const Ring ring{tiles, barriers, barriers + kStages};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kStages; stage++) {
      ptx::initBarrier(ring.full + stage, gathered ? 1 + kGroupWarps : 1);
      ptx::initBarrier(ring.empty + stage, kConsumerWarps);
    }
    ptx::fenceBarrierInit();
  }
  __syncthreads();
  if (threadIdx.x < kGroup) {
    ptx::giveRegisters<40>();
    const int rowB = static_cast<int>(batchOfB(p, part) / p.b.stride) + col;
    if constexpr (gathered) produceGathered(ring, p, part, b, rowB, steps);
    else if (threadIdx.x == 0) produce(ring, a, b, static_cast<int>(part.row), rowB, steps);
    return;
  }
  ptx::takeRegisters<232>();
  const int group = threadIdx.x / kGroup - 1;
  float sums[kCols / 2];
  if (steps > 0) consume(sums, ring, group, steps);
  else {
#pragma unroll
    for (float& sum : sums) sum = 0;
  }
  finish(sums, p, paired, part.row + group * kGroupRows, part.rowEnd, col);
}

/// Whether the operand can be copied: rows along k, at multiples of 16 bytes.
bool describable(const Side& s) {
  return s.dtype == DType::bf16 && !s.kFirst && reinterpret_cast<uintptr_t>(s.data) % 16 == 0 && s.stride % 8 == 0;
}

}  // namespace

bool computeHopper(const Product& p) {
  constexpr int64_t kMost = 0x7fffffff - kRows;  // coordinates of a tensor copy are 32 bits
  const bool groups = p.groups == Groups::rows;
  if (!groups && (p.groups != Groups::none || p.batches != 1)) return false;
  if (!describable(p.a) || !describable(p.b) || p.b.gather || p.k == 0 || (groups && p.b.batch % p.b.stride)) return false;
  const int64_t rowsB = groups ? (p.batches - 1) * (p.b.batch / p.b.stride) + p.n : p.n;  // of all matrices, one below the other
  if (p.m > kMost || rowsB > kMost || p.k > kMost || !machine::hasHopper()) return false;
  const int64_t down = rowTiles(p, kRows);
  const TensorMap b = machine::tensorMap(p.b.data, rowsB, p.k, p.b.stride, kCols);
  const TensorMap a = p.a.gather ? b : machine::tensorMap(p.a.data, p.m, p.k, p.a.stride, kRows);
  const auto run = [&](auto kernel) { launch(kernel, blocks(down * tilesOf(p.n, kCols)), kThreads, kShared, a, b, p, pairedTarget(p), down); };
  if (p.a.gather) run(hopperKernel<true>);
  else run(hopperKernel<false>);
  return true;
}

}  // namespace moe::cuda::gemm
