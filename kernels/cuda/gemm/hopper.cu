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
// neighbour's too, and do not write that. A group of depth ends inside a step; that step, and rows that are looked up, which the
// copy engine cannot do, are brought by more producers with cp.async: then `full` has an arrival of each of them more. Results in bf16 pass through shared memory, so that a warp writes whole lines. What bounds it: the tensor cores.
#include <hopper.cuh>

#include <cstdlib>
#include <type_traits>

#include "../tile.cuh"
#include "common.cuh"

namespace moe::cuda::gemm {

namespace {

constexpr int kRows = 128, kDepth = 64, kStep = 16, kLine = 64;  // kLine: elements of a line of a tile, 128 bytes
constexpr int kGroup = 128, kConsumers = 2, kConsumerThreads = kGroup * kConsumers, kConsumerWarps = kConsumerThreads / kLanes;
constexpr int kGroupRows = kRows / kConsumers, kTileA = kRows * kDepth;                    // elements
constexpr int kPart = kLine * kDepth, kPartBytes = kPart * static_cast<int>(sizeof(bf16));  // 64 lines
constexpr int kStaged = 16 * kLine;                                                         // a warp's part of its results

/// Columns of a block's tile, and stages of its ring: more columns read less, fewer leave no multiprocessor idle. speed: what part of
/// the tensor cores' peak such tiles reach (on an H200).
template <int cols, int stages> struct Shape {
  static constexpr int kCols = cols, kStages = stages;
  static constexpr float kSpeed = cols == 256 ? 0.95f : cols == 192 ? 0.85f : cols == 128 ? 0.75f : 0.45f;
};
using Slim = Shape<64, 8>;
using Narrow = Shape<128, 6>;
using Middle = Shape<192, 5>;
using Wide = Shape<256, 4>;

/// Which way the operands lie, which of them is looked up, and whether k is cut into groups.
template <bool a, bool b, bool lookA, bool lookB, bool cut> struct Way {
  static constexpr bool aFirst = a, bFirst = b, gatherA = lookA, gatherB = lookB, depth = cut, fills = gatherA || gatherB || depth;
};

template <class W, class Shape> struct Sizes : Shape {
  static constexpr int kFillers = 4 * kLanes;  // producers that bring lines themselves
  static constexpr int kThreads = kConsumerThreads + (W::fills ? kFillers : kLanes), kArrivals = W::fills ? 1 + kFillers / kLanes : 1;
  static constexpr int kStage = kTileA + Shape::kCols * kDepth;
  static constexpr int kBytesA = kTileA * static_cast<int>(sizeof(bf16)), kBytesB = Shape::kCols * kDepth * static_cast<int>(sizeof(bf16));
  static constexpr size_t kShared = (size_t{Shape::kStages} * kStage + kConsumerWarps * kStaged) * sizeof(bf16) + 2 * Shape::kStages * sizeof(ptx::Mbarrier);  // then a table of groups
};

/// Stages of a ring: step s of all tiles uses stage s % kStages in round s / kStages.
template <class S> struct Ring {
  bf16* tiles;
  ptx::Mbarrier *full, *empty;
  __device__ bf16* a(int step) const { return tiles + step % S::kStages * S::kStage; }
  __device__ bf16* b(int step) const { return a(step) + kTileA; }
  __device__ static uint32_t parity(int step) { return step / S::kStages & 1; }
};

/// Where a block's tile lies: rows and columns in c, and what to add to them in the maps of a and b.
struct Place {
  int64_t row, col;
  int mapA, mapB;  ///< first row of the tile in a's map, or its first k; of b's matrix in b's map, likewise
};

/// Lines of a tile from rows of the source; a row below 0 is zeros. memoryRow(j, line): line is this thread's j-th.
template <int fillers, class Index> __device__ __forceinline__ void fillLines(bf16* tile, int lines, const Source& s, Index&& memoryRow, int64_t col, int64_t colEnd) {
  const int thread = threadIdx.x - kConsumerThreads, chunk = thread % 8;
  const int64_t at = col + chunk * kChunk;
  const int valid = at < colEnd ? static_cast<int>(least(colEnd - at, int64_t{kChunk})) : 0;
#pragma unroll
  for (int j = 0; j < lines / (fillers / 8); j++) {
    const int line = thread / 8 + j * (fillers / 8);
    const int64_t row = memoryRow(j, line);
    const int mine = row < 0 ? 0 : valid;
    ptx::copyAsync(Tile{tile, 8}.chunk(line, chunk), mine > 0 ? s.data + row * s.stride + at : s.data, 2 * mine);
  }
}

/// Starts the copies of the tile's step `step`, by one thread, into the ring's `slot`.
template <class W, class S> __device__ __forceinline__ void copyA(const Ring<S>& ring, int slot, const TensorMap& a, const Place& at, int step, ptx::Mbarrier* full) {
  const int k = at.mapA + step * kDepth;
  if constexpr (!W::aFirst) ptx::copyBox(ring.a(slot), a, static_cast<int>(at.row), step * kDepth, full);
  else
#pragma unroll
    for (int j = 0; j < kRows / kLine; j++) ptx::copyBox(ring.a(slot) + j * kPart, a, k, static_cast<int>(at.row) + j * kLine, full);
}
template <class W, class S> __device__ __forceinline__ void copyB(const Ring<S>& ring, int slot, const TensorMap& b, const Place& at, int step, ptx::Mbarrier* full) {
  if constexpr (!W::bFirst) ptx::copyBox(ring.b(slot), b, at.mapB + static_cast<int>(at.col), step * kDepth, full);
  else
#pragma unroll
    for (int j = 0; j < S::kCols / kLine; j++) ptx::copyBox(ring.b(slot) + j * kPart, b, at.mapB + step * kDepth, static_cast<int>(at.col) + j * kLine, full);
}

/// One thread brings everything. slot: of the ring, counted on from tile to tile.
template <class W, class S> __device__ __forceinline__ void produce(const Ring<S>& ring, int& slot, const TensorMap& a, const TensorMap& b, const Place& at, int steps) {
  for (int step = 0; step < steps; step++, slot++) {
    ptx::Mbarrier* full = ring.full + slot % S::kStages;
    ptx::waitBarrier(ring.empty + slot % S::kStages, Ring<S>::parity(slot) ^ 1);  // the first round finds its stages empty
    ptx::arriveExpect(full, S::kBytesA + S::kBytesB);
    copyA<W>(ring, slot, a, at, step, full);
    copyB<W>(ring, slot, b, at, step, full);
  }
}

/// Slots whose lines this warp has begun to bring and not reported: the last `count` ones before `next`.
struct Pending {
  int next = 0, count = 0;
};
/// Waits until at most `left` of them are on their way, and reports the others.
template <int left, class S> __device__ __forceinline__ void report(const Ring<S>& ring, Pending& pending) {
  if (pending.count <= left) return;
  ptx::waitGroups<left>();
  ptx::fenceAsyncProxy();
  __syncwarp();
  for (; pending.count > left; pending.count--)
    if (threadIdx.x % kLanes == 0) ptx::arrive(ring.full + (pending.next - pending.count) % S::kStages);
}

/// Where a filler's lines come from: memory rows of a tile of a, or of a step of b.
template <class S, int lines> struct Lookup {
  static constexpr int kAtOnce = S::kFillers / 8, kEach = lines / kAtOnce;
  int rows[kEach];
  __device__ __forceinline__ void find(const int32_t* gather, int64_t first, int64_t end) {
#pragma unroll
    for (int j = 0; j < kEach; j++) {
      const int64_t row = first + (threadIdx.x - kConsumerThreads) / 8 + j * kAtOnce;
      rows[j] = row < end ? gather[row] : -1;
    }
  }
};
struct Nothing {};
/// What is looked up a tile ahead: the rows of a's tile, or of the first step of b.
template <class W, class S> using Ahead = std::conditional_t<W::gatherA, Lookup<S, kRows>, std::conditional_t<W::gatherB, Lookup<S, kDepth>, Nothing>>;
template <class W, class S> __device__ __forceinline__ void lookAhead(Ahead<W, S>& ahead, const Product& p, const Part& part) {
  if constexpr (W::gatherA) ahead.find(p.a.gather, part.row, part.rowEnd);
  if constexpr (W::gatherB) ahead.find(p.b.gather, part.k, part.kEnd);
}

/// As produce(), by several warps, where rows are looked up or k is cut.
template <class W, class S>
__device__ __forceinline__ void produceFilling(const Ring<S>& ring, int& slot, Pending& pending, const Product& p, const Part& part, Ahead<W, S> rows, const TensorMap& a, const TensorMap& b, const Place& at,
                                               int steps) {
  const int thread = threadIdx.x - kConsumerThreads;
  const Source sourceA{static_cast<const bf16*>(p.a.data), p.a.stride, true}, sourceB{static_cast<const bf16*>(p.b.data), p.b.stride, true};
  for (int step = 0; step < steps; step++, slot++) {
    const int64_t k = part.k + int64_t{step} * kDepth;
    const bool tail = W::depth && k + kDepth > part.kEnd;
    ptx::Mbarrier* full = ring.full + slot % S::kStages;
    ptx::waitBarrier(ring.empty + slot % S::kStages, Ring<S>::parity(slot) ^ 1);
    const bool fillsA = W::gatherA || tail, fillsB = W::gatherB || tail;
    if (thread == 0) {
      ptx::arriveExpect(full, (fillsA ? 0 : S::kBytesA) + (fillsB ? 0 : S::kBytesB));
      if (!fillsA) copyA<W>(ring, slot, a, at, step, full);
      if (!fillsB) copyB<W>(ring, slot, b, at, step, full);
    }
    if constexpr (W::gatherA) fillLines<S::kFillers>(ring.a(slot), kRows, sourceA, [&](int j, int) { return int64_t{rows.rows[j]}; }, k, p.k);
    const auto inside = [&](int, int line) { return k + line < part.kEnd ? k + line : int64_t{-1}; };
    if constexpr (W::depth) {
      if (tail)
        for (int j = 0; j < kRows / kLine; j++) fillLines<S::kFillers>(ring.a(slot) + j * kPart, kLine, sourceA, inside, at.row + j * kLine, p.m);
      if constexpr (W::gatherB) {
        for (int j = 0; j < S::kCols / kLine; j++) fillLines<S::kFillers>(ring.b(slot) + j * kPart, kLine, sourceB, [&](int i, int) { return int64_t{rows.rows[i]}; }, at.col + j * kLine, p.n);
        if (step + 1 < steps) rows.find(p.b.gather, k + kDepth, part.kEnd);
      } else if (tail)
        for (int j = 0; j < S::kCols / kLine; j++) fillLines<S::kFillers>(ring.b(slot) + j * kPart, kLine, sourceB, inside, at.col + j * kLine, p.n);
    }
    if (fillsA || fillsB) {
      ptx::commit();
      pending = {slot + 1, pending.count + 1};
      report<S::kStages - 2>(ring, pending);  // a stage is in use and one at hand
    } else {
      report<0>(ring, pending);
      __syncwarp();  // as in skip()
      if (threadIdx.x % kLanes == 0) ptx::arrive(full);
    }
  }
}

template <class S> __device__ __forceinline__ void release(const Ring<S>& ring, int slot) {
  if (threadIdx.x % kLanes == 0) ptx::arrive(ring.empty + slot % S::kStages);
}

template <class W, class S> __device__ __forceinline__ void consume(float (&sums)[S::kCols / 2], const Ring<S>& ring, int slot, int group, int steps) {
  for (int step = 0; step < steps; step++, slot++) {
    ptx::waitBarrier(ring.full + slot % S::kStages, Ring<S>::parity(slot));
    ptx::wgmmaFence();
    const bf16* a = ring.a(slot) + group * kGroupRows * kDepth;  // 64 rows along k, or 64 lines
    const bf16* b = ring.b(slot);
#pragma unroll
    for (int k = 0; k < kDepth; k += kStep) {
      const uint64_t left = W::aFirst ? ptx::descriptorFirst(a + k * kLine, kPartBytes) : ptx::descriptor(a + k);
      const uint64_t right = W::bFirst ? ptx::descriptorFirst(b + k * kLine, kPartBytes) : ptx::descriptor(b + k);
      ptx::wgmma<W::aFirst, W::bFirst>(sums, left, right, true);
    }
    ptx::wgmmaCommit();
    ptx::wgmmaWait<1>(sums);
    if (step > 0) release(ring, slot - 1);
  }
  ptx::wgmmaWait<0>(sums);
  release(ring, slot - 1);
}

/// A group without rows of its own only gives the stages back. Its lanes meet before: one that were still to wait could find the
/// phase after next.
template <class S> __device__ __forceinline__ void skip(const Ring<S>& ring, int slot, int steps) {
  for (int step = 0; step < steps; step++, slot++) {
    ptx::waitBarrier(ring.full + slot % S::kStages, Ring<S>::parity(slot));
    __syncwarp();
    release(ring, slot);
  }
}

/// How c can be written: element by element, or by way of shared memory in lines of 128 bytes, in which a warp's lanes lie side by
/// side; `wide` where sums must stay f32 until then, because c is f32 or its old content is added.
enum class Writing { single, lines, wide };

/// A warp's 16 rows at `to`, a line of `perLine` columns at a time: its lanes put what they hold into a tile, then take 16 bytes of
/// a row each. rows and cols: what of it c has. put(places of two neighbours, column, two sums), take(16 bytes, column, places in c).
template <int perLine, int count, class T, class Put, class Take>
__device__ __forceinline__ void finishLines(const float (&sums)[count], bf16* staged, T* to, int64_t stride, int rows, int cols, Put&& put, Take&& take) {
  constexpr int kEach = perLine / 8, kAtOnce = kLanes / 8;
  const int lane = ptx::anew(threadIdx.x % kLanes);
  const Tile tile{staged, 8};
  to += lane / 8 * stride + lane % 8 * kEach;
#pragma unroll
  for (int from = 0; from < 2 * count; from += perLine, to += perLine) {
    __syncwarp();
#pragma unroll
    for (int i = 0; i < perLine / 2; i += 2) {
      const fragment::Place place = fragment::accumulator(lane, i);
      put(reinterpret_cast<char*>(tile.chunk(place.row, place.col / kEach)) + place.col % kEach * (128 / perLine), from + place.col, sums[from / 2 + i], sums[from / 2 + i + 1]);
    }
    __syncwarp();
    const int at = from + lane % 8 * kEach;
    T* line = to;
#pragma unroll
    for (int r = 0; r < 16; r += kAtOnce, line += kAtOnce * stride)
      if (at < cols && r + lane / 8 < rows) take(tile.chunk(r + lane / 8, lane % 8), at, line);
  }
}

template <int count> __device__ __forceinline__ void finishNarrow(const float (&sums)[count], const Target& c, bf16* staged, bf16* to, int rows, int64_t col, int cols) {
  finishLines<kLine>(
      sums, staged, to, c.stride, rows, cols,
      [&](void* two, int at, float first, float second) {
        if (c.bias && at < cols) {
          first += read(c.bias, c.biasDtype, col + at);
          second += read(c.bias, c.biasDtype, col + at + 1);
        }
        *static_cast<uint32_t*>(two) = pack(first, second);
      },
      [&](const bf16* chunk, int, bf16* line) { *reinterpret_cast<Pack<bf16, kChunk>*>(line) = *reinterpret_cast<const Pack<bf16, kChunk>*>(chunk); });
}

template <int count, class T> __device__ __forceinline__ void finishWide(const float (&sums)[count], const Target& c, bf16* staged, T* to, int rows, int64_t col, int cols) {
  finishLines<kLine / 2>(
      sums, staged, to, c.stride, rows, cols, [&](void* two, int, float first, float second) { *static_cast<Pack<float, 2>*>(two) = {{first, second}}; },
      [&](const bf16* chunk, int at, T* line) {
        Floats<4> sum = *reinterpret_cast<const Floats<4>*>(chunk);
        if (c.bias)
#pragma unroll
          for (int i = 0; i < 4; i++) sum.at[i] += read(c.bias, c.biasDtype, col + at + i);
        accumulate<4>(line, sum, c.add ? 1.f : 0.f);
      });
}

/// row, col: of the group's part of c; base: where its matrix begins.
template <int count>
__device__ __forceinline__ void finish(const float (&sums)[count], const Product& p, Writing writing, bf16* staged, int64_t base, int64_t row, int64_t rowEnd, int64_t col) {
  if (writing == Writing::single) {
#pragma unroll
    for (int i = 0; i < count; i++) {
      const fragment::Place place = fragment::accumulator(threadIdx.x, i);
      const int64_t r = row + place.row, at = col + place.col;
      if (r < rowEnd && at < p.n) deliver(p, base + r * p.c.stride + at, at, sums[i]);
    }
    return;
  }
  row += threadIdx.x % kGroup / kLanes * 16;
  const int64_t to = base + row * p.c.stride + col;
  const int rows = static_cast<int>(least(rowEnd - row, int64_t{16})), cols = static_cast<int>(least(p.n - col, int64_t{2 * count}));
  if (writing == Writing::lines) finishNarrow(sums, p.c, staged, static_cast<bf16*>(p.c.data) + to, rows, col, cols);
  else if (p.c.dtype == DType::f32) finishWide(sums, p.c, staged, static_cast<float*>(p.c.data) + to, rows, col, cols);
  else finishWide(sums, p.c, staged, static_cast<bf16*>(p.c.data) + to, rows, col, cols);
}

/// The tiles of a launch: of each matrix of c the rows `down`, the columns `across`.
struct Tiles {
  uint32_t down, across, all;
};

/// The tile's part of the product and where it lies; beyond all tiles an empty one. Whole warps.
template <class W, class S> __device__ __forceinline__ Part locate(Place& at, const Product& p, const Tiles& tiles, const int* before, uint32_t index) {
  if (index >= tiles.all) return {0, 0, 0, 0, 0, true};
  const uint32_t each = tiles.down * tiles.across;
  const TileAt tile = tileAt(W::depth ? index % each : index, tiles.down, tiles.across);
  const Part part = p.groups == Groups::rows ? findGroup(p, before, static_cast<int>(tile.down), kRows) : partOf(p, tile.down, kRows, W::depth ? index / each : 0);
  at = {part.row, int64_t{tile.across} * S::kCols, static_cast<int>(part.k), W::depth ? static_cast<int>(part.k) : static_cast<int>(batchOfB(p, part) / p.b.stride)};
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
  return {blocks(down), blocks(across), blocks(down * across * (W::depth ? p.batches : 1))};
}

/// How long the tiles of this shape keep the GPU, in columns of a tile at the tensor cores' peak.
template <class W, class Shape> float costOf(const Product& p) {
  const int64_t rows = p.groups == Groups::rows ? p.m / kRows + least(p.batches, p.m) / 2 : tilesOf(p.m, kRows);  // of groups about that many
  const int64_t all = rows * tilesOf(p.n, Shape::kCols) * (W::depth ? p.batches : 1);
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

/// Runs the cheapest shape; TRAIN_MOE_TILE names its columns instead.
template <class W> bool compute(const Product& p) {
  const char* asked = getenv("TRAIN_MOE_TILE");
  const auto cost = [&](auto shape) {
    using S = decltype(shape);
    return asked ? (atoi(asked) == S::kCols ? 0.f : 1.f) : costOf<W, S>(p);
  };
  const float slim = cost(Slim{}), narrow = cost(Narrow{}), middle = cost(Middle{}), wide = cost(Wide{}), best = least(least(slim, narrow), least(middle, wide));
  return wide == best ? run<W, Wide>(p) : middle == best ? run<W, Middle>(p) : narrow == best ? run<W, Narrow>(p) : run<W, Slim>(p);
}

}  // namespace

bool prefersHopper() { return machine::kPrefersHopper; }

bool computeHopper(const Product& p) {
  if (p.groups == Groups::none && p.batches != 1) return false;
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
