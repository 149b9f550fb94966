// Blocked products over the micro-kernel of tile.h.
//
// How it runs: a task computes one block of c (up to 192 x 1024). For each 256 steps of k it widens its part of a into the
// second-level cache, then takes b panel by panel (16 KB, first-level cache; widened four at a time unless already f32 and
// packed) past all row tiles. Partial sums wait in scratch between the steps of k. What bounds it: the multiply-adds, as
// soon as there are some 50 rows; widening costs about 1/rows + 1/cols of them each. A block of at most one row tile
// (decoding) instead streams b once, whole chains at a time, and is bound by reading b.
#include "gemm.h"

#include <utility>

#include "amx.h"
#include "pack.h"

namespace moe::MOE_ISA::gemm {

namespace {

constexpr int64_t kBlockRows = 192;   // times kBlockDepth floats: a's part, 192 KB
constexpr int64_t kBlockCols = 1024;
constexpr int64_t kBlockDepth = 256;  // times kTileCols floats: one panel of b, 8 to 32 KB
constexpr int64_t kGroup = 4;         // panels widened at a time, so that b's rows are read by whole cache lines
constexpr int64_t kTasksPerThread = 4;
constexpr int64_t kLeastWork = 1 << 19;  // multiply-adds (about 10 us) below which a task costs more than it brings,
constexpr int64_t kReadCost = 8;         // reading b counted as so many rows
constexpr int kScratchA = 0, kScratchB = 1, kScratchSums = 2;

alignas(64) const float kZeros[4 * kTileCols] = {};

int64_t roundUp(int64_t n, int64_t to) { return divideUp(n, to) * to; }

/// Equal parts of n, at most `most` each, in multiples of `unit`.
int64_t evenly(int64_t n, int64_t most, int64_t unit) { return roundUp(divideUp(n, divideUp(n, most)), unit); }

// ---- operands ----------------------------------------------------------------------------------------------------------

/// Part of a, widened: element (m, k) lies at data[m*row + k*step].
struct WideLeft {
  const float* data;
  int64_t row, step;
};

template <class T> WideLeft widenLeft(const Left& a, int64_t m0, int64_t rows, int64_t k0, int64_t depth, int worker) {
  const T* from = static_cast<const T*>(a.data);
  const int64_t stride = roundUp(a.kFirst ? rows : depth, 16) + 16;  // not a power of two: rows must not share cache sets
  const int64_t count = a.kFirst ? depth : rows;
  auto* to = static_cast<float*>(parallel::scratch(worker, kScratchA, (count * stride + 16) * 4));
  for (int64_t i = 0; i < count; i++) {
    const int64_t row = a.kFirst ? k0 + i : a.rows ? a.rows[m0 + i] : m0 + i;
    widenRow(to + i * stride, from + row * a.stride + (a.kFirst ? m0 : k0), a.kFirst ? rows : depth);
  }
  return a.kFirst ? WideLeft{to, 1, stride} : WideLeft{to, stride, 1};
}

/// Panels `first` and on of b, f32: in place when they are packed floats, else widened into scratch.
template <class T> Panels<float> widePanels(const Product& p, int64_t first, int64_t cols, int64_t k0, int64_t depth, int worker) {
  const T* from = static_cast<const T*>(p.b.data);
  if (p.b.form == Form::panels && sizeof(T) == 4) return {reinterpret_cast<const float*>(from) + (first * p.k + k0) * kTileCols, kTileCols, p.k * kTileCols};
  auto* to = static_cast<float*>(parallel::scratch(worker, kScratchB, kGroup * kBlockDepth * kTileCols * 4));
  if (p.b.form == Form::panels) {
    for (int64_t j = 0; j < divideUp(cols, kTileCols); j++)
      widenRow(to + j * depth * kTileCols, from + ((first + j) * p.k + k0) * kTileCols, depth * kTileCols);
  } else {
    packRows<T>(to, cols, depth, [&](int64_t k) {
      const int64_t row = p.b.rows ? p.b.rows[k0 + k] : k0 + k;
      return from + row * p.b.stride + first * kTileCols;
    });
  }
  return {to, kTileCols, depth * kTileCols};
}

// ---- tiles -------------------------------------------------------------------------------------------------------------

template <class T> using Run = void (*)(int64_t, const float*, int64_t, int64_t, Panels<T>, Rows<const float>, Rows<float>);

template <int R, int P, class T>
void runTile(int64_t depth, const float* a, int64_t aRow, int64_t aStep, Panels<T> b, Rows<const float> start, Rows<float> c) {
  tile<R, P>(depth, a, aRow, aStep, b, start, c);
}

/// Panels that a tile of R rows takes at once when b streams: enough chains to hide the latency of one, few enough to
/// stay in registers.
constexpr int panelsFor(int rows) { return rows == 1 ? 4 : rows == 2 || (rows == 3 && kLanes == 16) ? 2 : 1; }

template <class T, bool stream> struct Tiles {
  Run<T> run[kTileRows + 1];
  template <int... R> constexpr explicit Tiles(std::integer_sequence<int, R...>) : run{nullptr, runTile<R + 1, stream ? panelsFor(R + 1) : 1, T>...} {}
};
template <class T, bool stream> constexpr Tiles<T, stream> kTiles{std::make_integer_sequence<int, kTileRows>{}};

/// Start values and results of the tiles of one block; c itself where it is f32 and whole panels fit, copies elsewhere.
class Edge {
 public:
  Edge(const Product& p, const Block& block) : c_(p.c), block_(block) {}

  /// Where the chains of `cols` columns begin; call bias() first where there is one.
  Rows<const float> start(int64_t row, int64_t rows, int64_t col, int64_t cols, int64_t width) {
    if (c_.bias) return {bias_, 0};
    if (!c_.add) return {kZeros, 0};
    if (direct(cols, width)) return {at<float>(row, col), c_.stride};
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

  Rows<float> result(int64_t row, int64_t col, int64_t cols, int64_t width) {
    if (direct(cols, width)) return {at<float>(row, col), c_.stride};
    return {result_, width};
  }

  void finish(int64_t row, int64_t rows, int64_t col, int64_t cols, int64_t width) {
    if (direct(cols, width)) return;
    dispatch(c_.dtype, [&](auto t) {
      for (int64_t i = 0; i < rows; i++) narrowRow(at<decltype(t)>(row + i, col), result_ + i * width, cols);
    });
  }

 private:
  static constexpr int64_t kSize = (kTileRows > 4 ? kTileRows : 4) * kTileCols;
  bool direct(int64_t cols, int64_t width) const { return c_.dtype == DType::f32 && cols == width; }
  template <class T> T* at(int64_t row, int64_t col) const {
    return static_cast<T*>(c_.data) + (block_.row + row) * c_.stride + block_.col + col;
  }
  const Target& c_;
  const Block& block_;
  alignas(64) float start_[kSize] = {}, result_[kSize], bias_[4 * kTileCols] = {};
};

// ---- blocks ------------------------------------------------------------------------------------------------------------

/// Many rows: a and b in blocks of k, b widened.
template <class T> void computeWide(const Product& p, const Block& block, int worker) {
  const int64_t tiles = divideUp(block.rows, kTileRows), panels = divideUp(block.cols, kTileCols);
  constexpr int64_t kTileSize = kTileRows * kTileCols;
  float* sums = p.k > kBlockDepth ? static_cast<float*>(parallel::scratch(worker, kScratchSums, tiles * panels * kTileSize * 4)) : nullptr;
  Edge edge(p, block);
  int64_t k0 = 0;
  do {  // once even when k is 0: c gets its start
    const int64_t depth = p.k - k0 < kBlockDepth ? p.k - k0 : kBlockDepth;
    const bool first = k0 == 0, last = k0 + depth == p.k;
    WideLeft a;
    dispatch(p.a.dtype, [&](auto t) { a = widenLeft<decltype(t)>(p.a, block.row, block.rows, k0, depth, worker); });
    Panels<float> b = {};
    for (int64_t j = 0; j < panels; j++) {
      const int64_t col = j * kTileCols, left = block.cols - col, cols = left < kTileCols ? left : kTileCols;
      if (j % kGroup == 0) b = widePanels<T>(p, block.col / kTileCols + j, left < kGroup * kTileCols ? left : kGroup * kTileCols, k0, depth, worker);
      const Panels<float> panel = {b.data + j % kGroup * b.panel, b.step, 0};
      if (first) edge.bias(col, cols);
      for (int64_t i = 0; i < tiles; i++) {
        const int64_t row = i * kTileRows, rows = block.rows - row < kTileRows ? block.rows - row : kTileRows;
        float* sum = sums + (j * tiles + i) * kTileSize;
        const Rows<const float> start = first ? edge.start(row, rows, col, cols, kTileCols) : Rows<const float>{sum, kTileCols};
        const Rows<float> result = last ? edge.result(row, col, cols, kTileCols) : Rows<float>{sum, kTileCols};
        kTiles<float, false>.run[rows](depth, a.data + row * a.row, a.row, a.step, panel, start, result);
        if (last) edge.finish(row, rows, col, cols, kTileCols);
      }
    }
    k0 += depth;
  } while (k0 < p.k);
}

/// One tile of rows: b streams by once, in its own dtype.
template <class T> void computeThin(const Product& p, const Block& block, int worker) {
  WideLeft a;
  dispatch(p.a.dtype, [&](auto t) { a = widenLeft<decltype(t)>(p.a, block.row, block.rows, 0, p.k, worker); });
  Edge edge(p, block);
  const T* data = static_cast<const T*>(p.b.data);
  const int64_t most = panelsFor(static_cast<int>(block.rows)) * kTileCols;
  for (int64_t col = 0; col < block.cols;) {
    const int64_t width = divideUp(block.cols - col, kTileCols) * kTileCols >= most ? most : kTileCols;
    const int64_t cols = block.cols - col < width ? block.cols - col : width, panel = (block.col + col) / kTileCols;
    const Panels<T> b = p.b.form == Form::panels ? Panels<T>{data + panel * p.k * kTileCols, kTileCols, p.k * kTileCols}
                                   : Panels<T>{data + block.col + col, p.b.stride, kTileCols};
    edge.bias(col, cols);
    const Rows<const float> start = edge.start(0, block.rows, col, cols, width);
    const Rows<float> result = edge.result(0, col, cols, width);
    const auto& run = width == most ? kTiles<T, true>.run : kTiles<T, false>.run;
    run[block.rows](p.k, a.data, a.row, a.step, b, start, result);
    edge.finish(0, block.rows, col, cols, width);
    col += width;
  }
}

}  // namespace

Cut cut(int64_t m, int64_t n, int64_t k, int64_t products) {
  const bool pairs = amx::serves(DType::bf16, DType::bf16);
  const int64_t rows = pairs ? 32 : kTileRows, cols = kTileCols < amx::kPanelCols ? amx::kPanelCols : kTileCols;
  if (m <= 0 || n <= 0) return {rows, cols};
  const int64_t wanted = parallel::threads() == 1 ? 1 : divideUp(kTasksPerThread * parallel::threads(), products);
  Cut cut = {evenly(m, kBlockRows, rows), evenly(n, kBlockCols, cols)};
  while (cut.tasks(m, n) < wanted && (cut.rows + kReadCost) * cut.cols * k >= 2 * kLeastWork) {
    if (cut.cols > cols && (cut.cols >= cut.rows || cut.rows <= rows)) cut.cols = roundUp(cut.cols / 2, cols);
    else if (cut.rows > rows) cut.rows = roundUp(cut.rows / 2, rows);
    else break;
  }
  return cut;
}

void compute(const Product& p, const Block& block, int worker) {
  if (block.rows <= 0 || block.cols <= 0) return;
  if (amx::serves(p.a.dtype, p.b.dtype)) return amx::compute(p, block, worker);
  const bool readable = p.b.form == Form::panels || (!p.b.rows && block.cols % kTileCols == 0);
  dispatch(p.b.dtype, [&](auto t) {
    using T = decltype(t);
    if (block.rows <= kTileRows && readable) computeThin<T>(p, block, worker);
    else computeWide<T>(p, block, worker);
  });
}

void compute(const Product& p) {
  const Cut shape = cut(p.m, p.n, p.k);
  parallel::loop(p.m > 0 && p.n > 0 ? shape.tasks(p.m, p.n) : 0,
                 [&](int64_t task, int worker) { compute(p, shape.block(task, p.m, p.n), worker); });
}

}  // namespace moe::MOE_ISA::gemm
