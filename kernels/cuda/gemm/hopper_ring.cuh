// How a tile of gemm/hopper.cu is multiplied: the ring of stages between producers and consumers, what each stage holds, who fills
// it and who uses it.
#pragma once
#include <hopper.cuh>

#include <type_traits>

#include "../tile.cuh"
#include "common.cuh"

namespace moe::cuda::gemm::hopper {

inline constexpr int kRows = 128, kDepth = 64, kStep = 16, kLine = 64;  // kLine: elements of a line of a tile, 128 bytes
inline constexpr int kGroup = 128, kConsumers = 2, kConsumerThreads = kGroup * kConsumers, kConsumerWarps = kConsumerThreads / kLanes;
inline constexpr int kGroupRows = kRows / kConsumers, kTileA = kRows * kDepth;                    // elements
inline constexpr int kPart = kLine * kDepth, kPartBytes = kPart * static_cast<int>(sizeof(bf16));  // 64 lines
inline constexpr int kStaged = 16 * kLine;                                                         // a warp's part of its results

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

/// Which way the operands lie, which of them is looked up, and whether k is cut into groups. A weight gradient's lines are k in both:
/// its k may be cut.
template <bool a, bool b, bool lookA, bool lookB, bool cut> struct Way {
  static constexpr bool aFirst = a, bFirst = b, gatherA = lookA, gatherB = lookB, depth = cut, weights = aFirst && bFirst, fills = gatherA || gatherB || depth;
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

}  // namespace moe::cuda::gemm::hopper
