// Products of bf16 on the tensor cores (mma.m16n8k16, f32 sums).
//
// How it runs: a block computes a tile of c; its warps share the tiles of a and b, which cp.async brings into a ring of stages,
// two stages ahead of the one in use. One barrier a step: it says both that the stage has come and that the stage to be filled
// next is no longer read. Rows that are gathered are looked up as their chunks are copied, so a gathered product reads the
// same bytes as a dense one. A gated product takes gate and up in turns of eight columns, so that a thread holds both where it
// writes them, and their silu(gate) * up. What bounds it: the tensor cores from a few hundred rows on; b's bytes below that.
#include "../tile.cuh"
#include "common.cuh"

namespace moe::cuda::gemm {

namespace {

/// Large tiles reuse more; small ones give more blocks when c is small.
struct Large {
  static constexpr int kRows = 128, kCols = 128, kDepth = 32, kStages = 3, kWarpsDown = 2, kWarpsAcross = 4, kBlocks = 2;
};
struct Small {
  static constexpr int kRows = 64, kCols = 64, kDepth = 32, kStages = 4, kWarpsDown = 2, kWarpsAcross = 2, kBlocks = 2;
};

template <class Shape> struct Sizes : Shape {
  static constexpr int kThreads = Shape::kWarpsDown * Shape::kWarpsAcross * kLanes;
  static constexpr int kFragmentsDown = Shape::kRows / Shape::kWarpsDown / 16, kFragmentsAcross = Shape::kCols / Shape::kWarpsAcross / 8;
  static constexpr int kStageA = Shape::kRows * Shape::kDepth, kStageB = Shape::kCols * Shape::kDepth;  // elements
  static constexpr size_t kShared = size_t{Shape::kStages} * (kStageA + kStageB) * sizeof(bf16);
};

template <class Shape> using Sums = float[Sizes<Shape>::kFragmentsDown][Sizes<Shape>::kFragmentsAcross][4];

/// Where a warp's part of a tile begins in the tile.
struct Corner {
  int row, col;
};

/// The tile's sums. Row r of b's tile is memory row rowOfB(r), or zeros below 0; with bFirst its columns begin at `col`.
template <bool aFirst, bool bFirst, class Shape, class Index>
__device__ __forceinline__ Corner sumTile(Sums<Shape>& sums, const Product& p, const Part& part, int64_t col, bool aAligned, bool bAligned, Index&& rowOfB) {
  using S = Sizes<Shape>;
  const Source a{static_cast<const bf16*>(p.a.data) + batchOfA(p, part), p.a.stride, aAligned, p.a.gather};
  const Source b{static_cast<const bf16*>(p.b.data) + batchOfB(p, part), p.b.stride, bAligned, p.b.gather};
  bf16* shared = sharedMemory<bf16>();
  const auto tileA = [&](int stage) { return Tile{shared + stage * (S::kStageA + S::kStageB), (aFirst ? S::kRows : S::kDepth) / kChunk}; };
  const auto tileB = [&](int stage) { return Tile{shared + stage * (S::kStageA + S::kStageB) + S::kStageA, (bFirst ? S::kCols : S::kDepth) / kChunk}; };
  const int steps = static_cast<int>(divideUp(part.kEnd - part.k, int64_t{S::kDepth}));
  const auto fill = [&](int step) {
    if (step < steps) {
      const int stage = step % S::kStages;
      const int64_t k = part.k + int64_t{step} * S::kDepth;
      if constexpr (aFirst) fillTile(tileA(stage), S::kDepth, a, k, part.kEnd, part.row, part.rowEnd, S::kThreads);
      else fillTile(tileA(stage), S::kRows, a, part.row, part.rowEnd, k, part.kEnd, S::kThreads);
      if constexpr (bFirst) fillTile(tileB(stage), S::kDepth, b, k, part.kEnd, col, p.n, S::kThreads);
      else fillRows(tileB(stage), S::kCols, b, rowOfB, k, part.kEnd, S::kThreads);
    }
    ptx::commit();  // also when nothing was begun: waits count groups
  };

  const int warp = threadIdx.x / kLanes;
  const Corner corner{warp / S::kWarpsAcross * (S::kRows / S::kWarpsDown), warp % S::kWarpsAcross * (S::kCols / S::kWarpsAcross)};
  for (int step = 0; step < S::kStages - 1; step++) fill(step);
  for (int step = 0; step < steps; step++) {
    ptx::waitGroups<S::kStages - 2>();
    __syncthreads();
    fill(step + S::kStages - 1);
    multiply<aFirst, bFirst>(sums, tileA(step % S::kStages), corner.row, tileB(step % S::kStages), corner.col, S::kDepth);
  }
  ptx::waitGroups<0>();
  return corner;
}

template <bool aFirst, bool bFirst, class Shape>
__global__ void __launch_bounds__(Sizes<Shape>::kThreads, Shape::kBlocks) tensorKernel(Product p, bool aAligned, bool bAligned, bool paired, int64_t tilesDown) {
  using S = Sizes<Shape>;
  const TileAt tile = tileAt(blockIdx.x, tilesDown, tilesOf(p.n, S::kCols));
  const Part part = partOf(p, tile.down, S::kRows, blockIdx.z);
  if (part.empty) return;
  const int64_t col = tile.across * S::kCols;
  Sums<Shape> sums = {};
  const Corner corner = sumTile<aFirst, bFirst, Shape>(sums, p, part, col, aAligned, bAligned, [col, end = p.n](int r) { return col + r < end ? col + r : int64_t{-1}; });

  const int lane = threadIdx.x % kLanes;
  const int64_t base = batchOfC(p, part);
#pragma unroll
  for (int i = 0; i < S::kFragmentsDown; i++)
#pragma unroll
    for (int j = 0; j < S::kFragmentsAcross; j++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const fragment::Place place = fragment::c(lane, 2 * half);
        const int64_t row = part.row + corner.row + 16 * i + place.row, at = col + corner.col + 8 * j + place.col;
        if (row >= part.rowEnd || at >= p.n) continue;
        const float* two = &sums[i][j][2 * half];
        const int64_t to = base + row * p.c.stride + at;
        if (paired) deliverTwo(p, to, at, two[0], two[1]);
        else {
          deliver(p, to, at, two[0]);
          if (at + 1 < p.n) deliver(p, to + 1, at + 1, two[1]);
        }
      }
}

/// The value that c will hold.
__device__ __forceinline__ float rounded(float sum) { return widen(narrow(sum)); }

/// c = [gate | up] and y = silu(gate) * up: b's tile holds eight of gate's rows, eight of up's, and so on.
template <class Shape>
__global__ void __launch_bounds__(Sizes<Shape>::kThreads, Shape::kBlocks) gatedKernel(Product p, bf16* y, bool aAligned, bool bAligned, bool paired, int64_t tilesDown) {
  using S = Sizes<Shape>;
  const int64_t cols = p.n / 2;
  const TileAt tile = tileAt(blockIdx.x, tilesDown, tilesOf(cols, S::kCols / 2));
  const Part part = partOf(p, tile.down, S::kRows, 0);
  if (part.empty) return;
  const int64_t col = tile.across * (S::kCols / 2);
  Sums<Shape> sums = {};
  const Corner corner = sumTile<false, false, Shape>(sums, p, part, col, aAligned, bAligned, [&](int r) {
    const int64_t at = col + r / 16 * 8 + r % 8;
    return at >= cols ? int64_t{-1} : r / 8 % 2 ? cols + at : at;
  });

  bf16* c = static_cast<bf16*>(p.c.data);
  const int lane = threadIdx.x % kLanes;
#pragma unroll
  for (int i = 0; i < S::kFragmentsDown; i++)
#pragma unroll
    for (int j = 0; j < S::kFragmentsAcross; j += 2)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const fragment::Place place = fragment::c(lane, 2 * half);
        const int64_t row = part.row + corner.row + 16 * i + place.row, at = col + (corner.col + 8 * j) / 2 + place.col;
        if (row >= part.rowEnd || at >= cols) continue;
        Floats<2> gate, up, product;
#pragma unroll
        for (int k = 0; k < 2; k++) {
          gate.at[k] = rounded(sums[i][j][2 * half + k]);
          up.at[k] = rounded(sums[i][j + 1][2 * half + k]);
          product.at[k] = gate.at[k] * (sigmoid(gate.at[k]) * up.at[k]);
        }
        bf16 *toGate = c + row * p.c.stride + at, *toUp = toGate + cols, *to = y + row * cols + at;
        if (paired) {
          store<2>(toGate, gate);
          store<2>(toUp, up);
          store<2>(to, product);
        } else
          for (int k = 0; k < 2 && at + k < cols; k++) {
            put(toGate + k, gate.at[k]);
            put(toUp + k, up.at[k]);
            put(to + k, product.at[k]);
          }
      }
}

/// Whether every chunk of 8 elements lies at a multiple of 16 bytes.
bool alignedSide(const Side& s) {
  return reinterpret_cast<uintptr_t>(s.data) % 16 == 0 && s.stride % kChunk == 0 && s.batch % kChunk == 0;
}

template <class Shape> void run(const Product& p) {
  using S = Sizes<Shape>;
  const int64_t down = rowTiles(p, S::kRows), across = tilesOf(p.n, S::kCols);
  const dim3 grid(blocks(down * across), 1, p.groups == Groups::rows ? 1 : static_cast<unsigned>(p.batches));
  const auto with = [&](auto kernel) { launch(kernel, grid, S::kThreads, S::kShared, p, alignedSide(p.a), alignedSide(p.b), pairedTarget(p), down); };
  if (p.a.kFirst && p.b.kFirst) with(tensorKernel<true, true, Shape>);
  else if (p.b.kFirst) with(tensorKernel<false, true, Shape>);
  else if (p.a.kFirst || p.b.gather) throw Error("internal", "a right operand whose rows run along k takes neither a transposed left one nor rows that are looked up.");
  else with(tensorKernel<false, false, Shape>);
}

template <class Shape> void runGated(const Product& p, bf16* y) {
  using S = Sizes<Shape>;
  const int64_t down = rowTiles(p, S::kRows), cols = p.n / 2;
  const bool paired = cols % 2 == 0 && p.c.stride % 2 == 0 && reinterpret_cast<uintptr_t>(p.c.data) % 4 == 0 && reinterpret_cast<uintptr_t>(y) % 4 == 0;
  launch(gatedKernel<Shape>, dim3(blocks(down * tilesOf(cols, S::kCols / 2))), S::kThreads, S::kShared, p, y, alignedSide(p.a), alignedSide(p.b), paired, down);
}

/// Whether large tiles are enough to keep every multiprocessor busy, and mostly full.
bool fitsLarge(const Product& p) {
  const int64_t large = tilesOf(p.m, Large::kRows) * tilesOf(p.n, Large::kCols) * (p.groups == Groups::rows ? 1 : p.batches);
  const bool shortGroups = p.groups == Groups::rows && p.m < 96 * p.batches;
  return large >= machine::multiprocessors() && !shortGroups;
}

}  // namespace

void computeTensor(const Product& p) { fitsLarge(p) ? run<Large>(p) : run<Small>(p); }

void computeTensorGated(const Product& p, bf16* y) { fitsLarge(p) ? runGated<Large>(p, y) : runGated<Small>(p, y); }

}  // namespace moe::cuda::gemm
