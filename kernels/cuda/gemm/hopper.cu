// Products of bf16 on Hopper: tensor copies (TMA) and wgmma, with warps that specialise.
//
//   c[m][n] = start[m][n] + sum over k of a(m, k) b(k, n)       forward, dgrad and wgrad of gemm.h, dense or by experts
//
// How it runs: a block computes 128 rows of c. Its last warps are producers: one thread waits for an empty stage of the ring, says
// how many bytes the stage will hold, and starts the copies, which bring the swizzle and the zeros beyond the edges. The two
// warpgroups before them are consumers: each multiplies 64 rows by all columns, one step of wgmma in flight, and gives a stage
// back when the step after it has been issued and its own is done. Two mbarriers a stage: `full` (one arrival and the bytes) and
// `empty` (an arrival of each consumer warp). An operand lies in shared memory as it does in memory, rows along k or lines that
// are k; wgmma takes both. A group's tiles begin at its first row; where they reach beyond its last row or column they multiply the
// neighbour's too, and do not write that (along k what a lacks is 0, so the neighbour's finite weights add nothing). A group of depth ends inside a step; that step, and rows that are looked up, which the
// copy engine cannot do, are brought by more producers with cp.async: then `full` has an arrival of each of them more. Results pass
// through shared memory, so that a warp writes whole lines. hopper_ring.cuh: the stages, who fills and who uses them;
// hopper_results.cuh: the way out. What bounds it: the tensor cores.
#include <cstdlib>

#include "hopper_results.cuh"

namespace moe::cuda::gemm {

namespace {

using namespace hopper;

/// The tiles of a launch: of each matrix of c the rows `down`, the columns `across`.
struct Tiles {
  uint32_t down, across, all;
};

/// The tile's part of the product and where it lies; beyond all tiles an empty one. Whole warps.
template <class W, class S> __device__ __forceinline__ Part locate(Place& at, const Product& p, const Tiles& tiles, const int* before, uint32_t index) {
  if (index >= tiles.all) return {0, 0, 0, 0, 0, true};
  const uint32_t each = tiles.down * tiles.across;
  const TileAt tile = tileAt(W::weights ? index % each : index, tiles.down, tiles.across);
  const Part part = p.groups == Groups::rows ? findGroup(p, before, static_cast<int>(tile.down), kRows) : partOf(p, tile.down, kRows, W::weights ? index / each : 0);
  at = {part.row, int64_t{tile.across} * S::kCols, static_cast<int>(part.k), W::weights ? static_cast<int>(part.k) : static_cast<int>(batchOfB(p, part) / p.b.stride)};
  return part;
}
/// 0 for rows of nobody.
__device__ __forceinline__ int stepsOf(const Part& part) { return static_cast<int>(divideUp(part.kEnd - part.k, int64_t{kDepth})); }

template <class W, class S>
__device__ __forceinline__ void takeTiles(const TensorMap& a, const TensorMap& b, const Product& p, Writing writing, const Tiles& tiles) {
  bf16* shared = sharedMemory<bf16>();
  bf16* staged = shared + S::kStages * S::kStage;
  auto* barriers = reinterpret_cast<ptx::Mbarrier*>(staged + kConsumerWarps * kStaged);
  const Ring<S> ring{shared, barriers, barriers + S::kStages};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < S::kStages; stage++) {
      ptx::initBarrier(ring.full + stage, S::kArrivals);
      ptx::initBarrier(ring.empty + stage, kConsumerWarps);
    }
    ptx::fenceBarrierInit();
  }
  int* before = reinterpret_cast<int*>(barriers + 2 * S::kStages);
  if (p.groups == Groups::rows && threadIdx.x / kLanes == 1) countTiles(before, p, kRows);
  __syncthreads();
  Place at{};
  int slot = 0;
  if (threadIdx.x >= kConsumerThreads) {
    [[maybe_unused]] Pending pending;
    [[maybe_unused]] Ahead<W, S> rows{};
    Part part = locate<W, S>(at, p, tiles, before, blockIdx.x);
    if constexpr (W::fills) lookAhead<W, S>(rows, p, part);
    for (uint32_t tile = blockIdx.x; tile < tiles.all; tile += gridDim.x) {
      Place nextAt{};
      const Part next = locate<W, S>(nextAt, p, tiles, before, tile + gridDim.x);  // on the way while this tile's steps are brought
      if constexpr (W::fills) {
        const Ahead<W, S> mine = rows;
        lookAhead<W, S>(rows, p, next);
        produceFilling<W>(ring, slot, pending, p, part, mine, a, b, at, stepsOf(part));
      } else if (threadIdx.x == kConsumerThreads) produce<W>(ring, slot, a, b, at, stepsOf(part));
      __syncwarp();
      part = next;
      at = nextAt;
    }
    if constexpr (W::fills) report<0>(ring, pending);
    return;
  }
  const int group = threadIdx.x / kGroup;
  for (uint32_t tile = blockIdx.x; tile < tiles.all; tile += gridDim.x) {
    const Part part = locate<W, S>(at, p, tiles, before, tile);
    const int64_t row = part.row + group * kGroupRows;
    const int steps = stepsOf(part);
    if (row >= part.rowEnd) skip(ring, slot, steps);
    else {
      float sums[S::kCols / 2];
#pragma unroll
      for (float& sum : sums) sum = 0;
      if (steps > 0) consume<W>(sums, ring, slot, group, steps);
      finish(sums, p, writing, staged + threadIdx.x / kLanes * kStaged, batchOfC(p, part), row, part.rowEnd, at.col);
    }
    slot += steps;
  }
}

template <class W, class Shape>
__global__ void __launch_bounds__(Sizes<W, Shape>::kThreads, 1)
    hopperKernel(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const __grid_constant__ Product p, Writing writing, Tiles tiles) {
  if (ptx::kHopper) takeTiles<W, Sizes<W, Shape>>(a, b, p, writing, tiles);
}

/// Whether the operand can be copied: rows at multiples of 16 bytes.
bool describable(const Side& s) { return s.dtype == DType::bf16 && reinterpret_cast<uintptr_t>(s.data) % 16 == 0 && s.stride % 8 == 0; }

Writing writingOf(const Product& p) {
  const bool whole = p.n % kChunk == 0 && p.c.stride % kChunk == 0 && p.c.batch % kChunk == 0 && reinterpret_cast<uintptr_t>(p.c.data) % 16 == 0;
  return !whole ? Writing::single : p.c.dtype == DType::bf16 && !p.c.add ? Writing::lines : Writing::wide;
}

/// @throws when there are more than a grid holds.
template <class W, class Shape> Tiles tilesFor(const Product& p) {
  const int64_t down = rowTiles(p, kRows), across = tilesOf(p.n, Shape::kCols);
  return {blocks(down), blocks(across), blocks(down * across * (W::weights ? p.batches : 1))};
}

/// How long the tiles of this shape keep the GPU, in columns of a tile at the tensor cores' peak.
template <class W, class Shape> float costOf(const Product& p) {
  const int64_t rows = p.groups == Groups::rows ? p.m / kRows + least(p.batches, p.m) / 2 : tilesOf(p.m, kRows);  // of groups about that many
  const int64_t all = rows * tilesOf(p.n, Shape::kCols) * (W::weights ? p.batches : 1);
  return static_cast<float>(divideUp(all, int64_t{machine::multiprocessors()}) * Shape::kCols) / Shape::kSpeed;
}

template <class W, class Shape> bool run(const Product& p) {
  constexpr int64_t kMost = 0x7fffffff - 2 * kRows;  // coordinates of a tensor copy are 32 bits
  const int64_t matrices = p.groups == Groups::rows ? p.batches : 1, each = p.groups == Groups::rows ? p.b.batch / p.b.stride : 0;  // rows of b's map from one to the next
  const int64_t rowsB = (matrices - 1) * each + (W::bFirst ? p.k : p.n);
  if (p.m > kMost || rowsB > kMost || p.k > kMost || p.n > kMost) return false;
  const TensorMap b = machine::tensorMap(p.b.data, rowsB, W::bFirst ? p.n : p.k, p.b.stride, W::bFirst ? kDepth : Shape::kCols);
  const TensorMap a = W::gatherA ? b : machine::tensorMap(p.a.data, W::aFirst ? p.k : p.m, W::aFirst ? p.m : p.k, p.a.stride, W::aFirst ? kDepth : kRows);
  const size_t shared = Sizes<W, Shape>::kShared + (p.groups == Groups::rows ? (p.batches + 2) * sizeof(int) : 0);
  if (shared > machine::sharedLimit()) return false;
  const Tiles tiles = tilesFor<W, Shape>(p);
  const unsigned grid = least(tiles.all, static_cast<unsigned>(machine::multiprocessors()));
  using S = Sizes<W, Shape>;
  launch(hopperKernel<W, Shape>, grid, S::kThreads, shared, a, b, p, writingOf(p), tiles);
  return true;
}

/// Columns of the cheapest shape, or those that TRAIN_MOE_TILE names.
template <class W> int columnsFor(const Product& p) {
  if (const char* asked = getenv("TRAIN_MOE_TILE")) return atoi(asked);
  const float slim = costOf<W, Slim>(p), narrow = costOf<W, Narrow>(p), middle = costOf<W, Middle>(p), wide = costOf<W, Wide>(p);
  const float best = least(least(slim, narrow), least(middle, wide));
  return wide == best ? Wide::kCols : middle == best ? Middle::kCols : narrow == best ? Narrow::kCols : Slim::kCols;
}

/// @throws Error("bad-argument") when TRAIN_MOE_TILE is no shape's.
template <class W> bool compute(const Product& p) {
  switch (columnsFor<W>(p)) {
    case Wide::kCols: return run<W, Wide>(p);
    case Middle::kCols: return run<W, Middle>(p);
    case Narrow::kCols: return run<W, Narrow>(p);
    case Slim::kCols: return run<W, Slim>(p);
    default: throw Error("bad-argument", std::string("TRAIN_MOE_TILE is ") + getenv("TRAIN_MOE_TILE") + "; 64, 128, 192 or 256 is expected.");
  }
}

}  // namespace

bool prefersHopper() { return machine::kPrefersHopper; }

bool computeHopper(const Product& p) {
  if (p.groups == Groups::none && p.batches != 1) return false;
  if (p.groups == Groups::pieces && p.piece % kDepth) return false;
  if (!describable(p.a) || !describable(p.b) || p.k == 0 || !machine::hasHopper()) return false;
  if (p.groups == Groups::rows && p.b.batch % p.b.stride) return false;
  if (p.groups == Groups::depth) {
    if (!p.a.kFirst || !p.b.kFirst || p.a.gather) return false;
    return p.b.gather ? compute<Way<true, true, false, true, true>>(p) : compute<Way<true, true, false, false, true>>(p);
  }
  if (p.b.gather || (p.a.kFirst && (p.a.gather || p.groups == Groups::rows))) return false;
  if (p.a.gather) return !p.b.kFirst && compute<Way<false, false, true, false, false>>(p);
  if (!p.b.kFirst) return !p.a.kFirst && compute<Way<false, false, false, false, false>>(p);
  return p.a.kFirst ? compute<Way<true, true, false, false, false>>(p) : compute<Way<false, true, false, false, false>>(p);
}

}  // namespace moe::cuda::gemm
