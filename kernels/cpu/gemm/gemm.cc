// Blocked products over the micro-kernel of tile.h.
//
// How it runs: a task computes one block of c (up to 192 x 1024). For each 256 steps of k (pairs of steps, where both
// operands are bf16 and the CPU multiplies pairs) it brings its part of a into the second-level cache, widened to floats or
// as pairs, unless it can be read where it lies; then takes b panel by panel (first-level cache; brought in four at a time
// unless packed as it is read) past all row tiles. Partial sums wait in scratch between the steps of k. What bounds it: the
// multiply-adds, as soon as there are some 50 rows; bringing operands in costs about 1/rows + 1/cols of them each. A block of
// at most one row tile (decoding) instead streams b once, whole chains at a time, and is bound by reading b.
#include "gemm.h"

#include <utility>

#include "amx.h"
#include "few.h"
#include "operands.h"

namespace moe::MOE_ISA::gemm {

namespace {

constexpr int64_t kBlockCols = 1024;
constexpr int64_t kBlockDepth = 256;  // times kBlockRows units of 4 bytes: a's part, 192 KB; times kTileCols units: one panel of b, 8 to 32 KB
constexpr int64_t kTallRows = 518, kTallDepth = 128;  // the same where a is kFirst: 259 KB, whose rows a tile does not read whole
constexpr int64_t kGroup = 4 * kTileCols;  // columns of b brought in at a time, so that its rows are read by whole cache lines
constexpr int64_t kPanelGap = 1;  // units between panels of pairs that are written side by side: they must not share cache sets
constexpr int64_t kTasksPerThread = 4, kTallTasksPerThread = 2;
constexpr int64_t kLeastWork = 1 << 19;  // multiply-adds (about 10 us) below which a task costs more than it brings,
constexpr int64_t kReadCost = 8;         // reading b counted as so many rows
constexpr int kScratchA = 0, kScratchB = 1, kScratchSums = 2;

alignas(64) const float kZeros[4 * kTileCols] = {};

int64_t roundUp(int64_t n, int64_t to) { return divideUp(n, to) * to; }

/// Equal parts of n, at most `most` each, in multiples of `unit`.
int64_t evenly(int64_t n, int64_t most, int64_t unit) { return roundUp(divideUp(n, divideUp(n, most)), unit); }

// ---- operands ----------------------------------------------------------------------------------------------------------

/// Part of a: element (m, unit of k) lies at data[m*row + unit*step].
template <class U> struct LeftPart {
  const U* data;
  int64_t row, step;
};

/// Whether a's rows lie in memory as units already, and not so that those of a tile share a few sets of the first-level cache.
template <class U> bool readableInPlace(const Left& a, int64_t k) {
  constexpr int64_t kSets = 2048;  // bytes: half of what rows that share one set are apart
  if (a.kFirst || a.rows || a.stride % kSteps<U> != 0 || k % kSteps<U> != 0) return false;
  const bool units = a.dtype == (kSteps<U> == 1 ? DType::f32 : DType::bf16);
  return units && a.stride * bytes(a.dtype) % kSets != 0;
}

template <class U> LeftPart<U> leftPart(const Product& p, int64_t m0, int64_t rows, int64_t unit, int64_t depth, int worker) {
  if (readableInPlace<U>(p.a, p.k)) {
    const int64_t row = p.a.stride / kSteps<U>;
    return {static_cast<const U*>(p.a.data) + m0 * row + unit, row, 1};
  }
  const int64_t stride = roundUp(p.a.kFirst ? rows : depth, 16) + 16;  // not a power of two: rows must not share cache sets
  auto* to = static_cast<U*>(parallel::scratch(worker, kScratchA, ((p.a.kFirst ? depth : rows) * stride + 16) * sizeof(U)));
  bringLeft(to, stride, p, m0, rows, unit, depth);
  return p.a.kFirst ? LeftPart<U>{to, 1, stride} : LeftPart<U>{to, stride, 1};
}

/// `cols` columns of b from `col` on, at most kGroup, as floats: in place when they are packed floats, else widened.
Panels<float> rightPart(float* to, const Product& p, int64_t col, int64_t cols, int64_t k0, int64_t depth) {
  const bool packed = p.b.form == Form::panels;
  if (packed && p.b.dtype == DType::f32) return {static_cast<const float*>(p.b.data) + col * p.k + k0 * kTileCols, kTileCols, p.k * kTileCols};
  dispatch(p.b.dtype, [&](auto t) {
    using T = decltype(t);
    const auto* from = static_cast<const T*>(p.b.data);
    if (packed)
      for (int64_t j = 0; j < cols; j += kTileCols) widenRow(to + j * depth, from + (col + j) * p.k + k0 * kTileCols, depth * kTileCols);
    else if (p.b.form == Form::columns)
      for (int64_t j = 0; j < cols; j += kTileCols) packTransposed(to + j * depth, from + (col + j) * p.b.stride + k0, p.b.stride, cols - j, depth);
    else packRows<T>(to, cols, depth, [&](int64_t k) { return from + memoryRow(p.b, k0 + k) * p.b.stride + col; });
  });
  return {to, kTileCols, depth * kTileCols};
}

/// The same as pairs.
Panels<pair> rightPart(pair* to, const Product& p, int64_t col, int64_t cols, int64_t unit, int64_t depth) {
  if (p.b.form == Form::pairs) {
    const int64_t panel = pairPanelSize(p.k) / 2;
    return {static_cast<const pair*>(p.b.data) + col / kPairCols * panel + unit * kPairCols, kPairCols, panel};
  }
  const auto* from = static_cast<const bf16*>(p.b.data);
  const int64_t panel = (roundUp(depth, kPairSteps / 2) + kPanelGap) * kPairCols;
  if (p.b.form == Form::columns) {
    const int64_t steps = p.k - 2 * unit < 2 * depth ? p.k - 2 * unit : 2 * depth;
    for (int64_t j = 0; j < cols; j += kPairCols)
      packPairPanel(reinterpret_cast<bf16*>(to + j / kPairCols * panel), from + (col + j) * p.b.stride + 2 * unit, p.b.stride, cols - j < kPairCols ? cols - j : kPairCols, steps);
    return {to, kPairCols, panel};
  }
  packPairsAcross(to, kPairCols, panel, cols, 2 * unit, depth, p.k, [&](int64_t k) { return from + memoryRow(p.b, k) * p.b.stride + col; });
  return {to, kPairCols, panel};
}

// ---- tiles -------------------------------------------------------------------------------------------------------------

template <class A, class B, class C> using Run = void (*)(int64_t, const A*, int64_t, int64_t, Panels<B>, Rows<const float>, Rows<C>);

template <int R, int W, class A, class B, class C>
void runTile(int64_t depth, const A* a, int64_t aRow, int64_t aStep, Panels<B> b, Rows<const float> start, Rows<C> c) {
  tile<R, W>(depth, a, aRow, aStep, b, start, c);
}

/// How many times kTileCols columns a tile of R rows takes at once when b streams: enough chains to hide the latency of one,
/// few enough to stay in registers.
constexpr int streamWidth(int rows) {
  if (kLanes == 16) return rows <= 2 ? 4 : rows <= 6 ? 2 : 1;
  return rows == 1 ? 4 : rows == 2 ? 2 : 1;
}

template <class A, class B, class C, bool stream> struct Tiles {
  Run<A, B, C> run[kTileRows + 1];
  template <int... R>
  constexpr explicit Tiles(std::integer_sequence<int, R...>) : run{nullptr, runTile<R + 1, stream ? streamWidth(R + 1) : 1, A, B, C>...} {}
};
template <class A, class B, class C, bool stream> constexpr Tiles<A, B, C, stream> kTiles{std::make_integer_sequence<int, kTileRows>{}};

/// The tiles of one block: where their chains begin, and where they end. That is c itself where whole panels fit, else a copy.
class Edge {
 public:
  Edge(const Product& p, const Block& block) : c_(p.c), block_(block) {}

  /// Where the chains of `cols` columns begin; call bias() first where there is one.
  Rows<const float> start(int64_t row, int64_t rows, int64_t col, int64_t cols, int64_t width) {
    if (c_.bias) return {bias_, 0};
    if (!c_.add) return {kZeros, 0};
    if (c_.dtype == DType::f32 && cols == width) return {at<float>(row, col), c_.stride};
    dispatch(c_.dtype, [&](auto t) {
      for (int64_t i = 0; i < rows; i++) widenRow(start_ + i * width, at<decltype(t)>(row + i, col), cols);
    });
    return {start_, width};
  }

  void bias(int64_t col, int64_t cols) {
    if (!c_.bias) return;
    dispatch(c_.bias->dtype, [&](auto t) {
      using T = decltype(t);
      widenRow(bias_, static_cast<const T*>(c_.bias->data) + block_.col + col, cols);
    });
  }

  /// Runs the tile of these rows and columns to the end of its chains.
  template <class A, class B, bool stream>
  void finish(int64_t depth, LeftPart<A> a, Panels<B> b, Rows<const float> start, int64_t row, int64_t rows, int64_t col, int64_t cols, int64_t width) {
    const A* left = a.data + row * a.row;
    dispatch(c_.dtype, [&](auto t) {
      using C = decltype(t);
      if (cols == width) return kTiles<A, B, C, stream>.run[rows](depth, left, a.row, a.step, b, start, {at<C>(row, col), c_.stride});
      kTiles<A, B, float, stream>.run[rows](depth, left, a.row, a.step, b, start, {result_, width});
      for (int64_t i = 0; i < rows; i++) narrowRow(at<C>(row + i, col), result_ + i * width, cols);
    });
  }

 private:
  static constexpr int64_t kSize = (kTileRows > 4 ? kTileRows : 4) * kTileCols;
  template <class T> T* at(int64_t row, int64_t col) const {
    return static_cast<T*>(c_.data) + (block_.row + row) * c_.stride + block_.col + col;
  }
  const Target& c_;
  const Block& block_;
  alignas(64) float start_[kSize] = {}, result_[kSize], bias_[4 * kTileCols] = {};
};

// ---- blocks ------------------------------------------------------------------------------------------------------------

/// Many rows: a and b brought in block by block of k.
template <class U> void computeWide(const Product& p, const Block& block, int worker) {
  const int64_t units = divideUp(p.k, kSteps<U>), tileRows = evenly(block.rows, kTileRows, 1);
  const int64_t tiles = divideUp(block.rows, tileRows), panels = divideUp(block.cols, kTileCols);
  constexpr int64_t kTileSize = kTileRows * kTileCols;
  const int64_t deepest = p.a.kFirst ? kTallDepth : kBlockDepth;
  float* sums = units > deepest ? static_cast<float*>(parallel::scratch(worker, kScratchSums, tiles * panels * kTileSize * 4)) : nullptr;
  auto* space = static_cast<U*>(parallel::scratch(worker, kScratchB, kGroup * (kBlockDepth + kPanelGap) * sizeof(U)));
  Edge edge(p, block);
  int64_t unit = 0;
  do {  // once even when k is 0: c gets its start
    const int64_t depth = units - unit < deepest ? units - unit : deepest;
    const bool first = unit == 0, last = unit + depth == units;
    const LeftPart<U> a = leftPart<U>(p, block.row, block.rows, unit, depth, worker);
    Panels<U> b = {};
    for (int64_t j = 0; j < panels; j++) {
      const int64_t col = j * kTileCols, left = block.cols - col, cols = left < kTileCols ? left : kTileCols;
      if (col % kGroup == 0) b = rightPart(space, p, block.col + col, left < kGroup ? left : kGroup, unit, depth);
      const Panels<U> panel = b.from(col % kGroup);
      if (first) edge.bias(col, cols);
      for (int64_t i = 0; i < tiles; i++) {
        const int64_t row = i * tileRows, rows = block.rows - row < tileRows ? block.rows - row : tileRows;
        float* sum = sums + (j * tiles + i) * kTileSize;
        const Rows<const float> start = first ? edge.start(row, rows, col, cols, kTileCols) : Rows<const float>{sum, kTileCols};
        if (last) edge.finish<U, U, false>(depth, a, panel, start, row, rows, col, cols, kTileCols);
        else kTiles<U, U, float, false>.run[rows](depth, a.data + row * a.row, a.row, a.step, panel, start, {sum, kTileCols});
      }
    }
    unit += depth;
  } while (unit < units);
}

/// One tile of rows: b, whose column `block.col` is the first of `b`, streams by once in its own dtype.
template <class U, class B> void computeThin(const Product& p, const Block& block, Panels<B> b, int worker) {
  const int64_t units = divideUp(p.k, kSteps<U>);
  const LeftPart<U> a = leftPart<U>(p, block.row, block.rows, 0, units, worker);
  Edge edge(p, block);
  const int64_t most = streamWidth(static_cast<int>(block.rows)) * kTileCols;
  for (int64_t col = 0; col < block.cols;) {
    const int64_t width = roundUp(block.cols - col, kTileCols) >= most ? most : kTileCols;
    const int64_t cols = block.cols - col < width ? block.cols - col : width;
    edge.bias(col, cols);
    const Rows<const float> start = edge.start(0, block.rows, col, cols, width);
    if (width == most) edge.finish<U, B, true>(units, a, b.from(col), start, 0, block.rows, col, cols, width);
    else edge.finish<U, B, false>(units, a, b.from(col), start, 0, block.rows, col, cols, width);
    col += width;
  }
}

void computePairs(const Product& p, const Block& block, int worker) {
  if (block.rows <= kTileRows && p.b.form == Form::pairs)
    computeThin<pair>(p, block, rightPart(static_cast<pair*>(nullptr), p, block.col, block.cols, 0, divideUp(p.k, 2)), worker);
  else computeWide<pair>(p, block, worker);
}

void computeFloats(const Product& p, const Block& block, int worker) {
  const bool packed = p.b.form == Form::panels, readable = packed || (p.b.form == Form::rows && !p.b.rows && block.cols % kTileCols == 0);
  if (block.rows > kTileRows || !readable) return computeWide<float>(p, block, worker);
  dispatch(p.b.dtype, [&](auto t) {
    using T = decltype(t);
    const auto* data = static_cast<const T*>(p.b.data) + block.col * (packed ? p.k : 1);
    computeThin<float>(p, block, packed ? Panels<T>{data, kTileCols, p.k * kTileCols} : Panels<T>{data, p.b.stride, kTileCols}, worker);
  });
}

}  // namespace

Cut cut(int64_t m, int64_t n, int64_t k, int64_t products, bool kFirst) {
  const bool tiles = amx::serves(DType::bf16, DType::bf16);
  const int64_t rows = tiles ? 32 : kTileRows, cols = kTileCols < kPairCols ? kPairCols : kTileCols;
  if (m <= 0 || n <= 0) return {rows, cols};
  const int64_t each = kFirst ? kTallTasksPerThread : kTasksPerThread;
  const int64_t wanted = parallel::threads() == 1 ? 1 : divideUp(each * parallel::threads(), products);
  Cut cut = {evenly(m, kFirst ? kTallRows : kBlockRows, rows), evenly(n, kBlockCols, cols)};
  while (cut.tasks(m, n) < wanted && (cut.rows + kReadCost) * cut.cols * k >= 2 * kLeastWork) {
    if (cut.cols > cols && (cut.cols >= cut.rows || cut.rows <= rows)) cut.cols = roundUp(cut.cols / 2, cols);
    else if (cut.rows > rows) cut.rows = roundUp(cut.rows / 2, rows);
    else break;
  }
  return cut;
}

bool usesPairs(DType a, DType b) { return amx::serves(a, b) || (kMultipliesPairs && a == DType::bf16 && b == DType::bf16); }

void compute(const Product& p, const Block& block, int worker) {
  if (block.rows <= 0 || block.cols <= 0) return;
  if (amx::serves(p.a.dtype, p.b.dtype)) amx::compute(p, block, worker);
  else if (readsInPlace(p)) computeInPlace(p, block, worker);
  else if (isShallow(p)) computeShallow(p, block, worker);
  else if (usesPairs(p.a.dtype, p.b.dtype)) computePairs(p, block, worker);
  else computeFloats(p, block, worker);
}

void compute(std::span<const Product> products) {
  constexpr size_t kMost = 4;
  if (products.size() > kMost) throw Error("internal", "too many products at once.");
  Cut cuts[kMost];
  int64_t tasks[kMost], all = 0;
  for (size_t i = 0; i < products.size(); i++) {
    const Product& p = products[i];
    cuts[i] = cut(p.m, p.n, p.k, 1, p.a.kFirst);
    if (p.b.form == Form::columns && cuts[i].cols > kGroup) cuts[i].cols = kGroup;  // few rows of memory at a time, from end to end
    all += tasks[i] = p.m > 0 && p.n > 0 ? cuts[i].tasks(p.m, p.n) : 0;
  }
  parallel::loop(all, [&](int64_t task, int worker) {
    size_t i = 0;
    for (; task >= tasks[i]; i++) task -= tasks[i];
    compute(products[i], cuts[i].block(task, products[i].m, products[i].n), worker);
  });
}

}  // namespace moe::MOE_ISA::gemm
