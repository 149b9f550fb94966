// What the attention kernels share: a tile of keys, which part of it each query sees, and products on it.
//
// Queries are worked on in blocks of kQueries rows, keys in tiles of kKeys. A block's scores lie in s[row][kKeys]. The
// products are those of gemm/tile.h, cut in row tiles of kTileRows; each row tile takes only the keys that one of its rows
// sees, so that a causal mask costs half a row tile beside the diagonal, not half a block.
//
// Each score is one chain of multiply-adds over the channels, each output one over the keys, in increasing order. A key
// that a row does not see enters with weight 0 and leaves the chain's bits as they are; so a row's bits do not depend on
// the rows it shares a tile with.
#pragma once
#include <limits>

#include "gemm/pack.h"

namespace moe::MOE_ISA::attention {

using gemm::kTileCols;
using gemm::kTileRows;
using gemm::Panels;

inline constexpr int kKeys = 64;                                ///< keys of a tile
inline constexpr int kQueries = 120 / kTileRows * kTileRows;    ///< rows of a block
inline constexpr int kRowTiles = kQueries / kTileRows;
inline constexpr int kKeyPanels = kKeys / kTileCols;
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
static_assert(kKeys % kTileCols == 0);

/// Panels that n columns take.
inline int panelsOf(int64_t n) { return static_cast<int>(divideUp(n, kTileCols)); }
/// Rows of n floats lie this far apart; the rest is zero, so that whole panels can be read. An odd number of cache lines,
/// because a panel of rows that lie a power of two apart would fall into a few sets of the cache.
inline int64_t padded(int64_t n) {
  constexpr int64_t kLine = 16;
  return (divideUp(divideUp(n, kTileCols) * kTileCols, kLine) | 1) * kLine;
}
inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// ---- what is seen ------------------------------------------------------------------------------------------------------

/// Positions begin <= i < end; empty when end <= begin.
struct Span {
  int begin, end;
  bool empty() const { return end <= begin; }
};

/// The keys of a tile that a block's rows see: each row's, and those that some row of a row tile sees.
struct Sight {
  Span row[kQueries], tile[kRowTiles];
  int rows, tiles;
  bool any;

  /// `from` and `to`: the visible keys of each row, counted like `key`, the first key of the tile.
  Sight(const int32_t* from, const int32_t* to, int rows, int64_t key) : rows(rows), tiles((rows + kTileRows - 1) / kTileRows), any(false) {
    for (int t = 0; t < tiles; t++) {
      tile[t] = {kKeys, 0};
      for (int i = t * kTileRows; i < rows && i < (t + 1) * kTileRows; i++) {
        const int64_t begin = from[i] - key, end = to[i] - key;
        row[i] = {static_cast<int>(most(begin, 0)), static_cast<int>(least(end, kKeys))};
        if (row[i].empty()) continue;
        if (row[i].begin < tile[t].begin) tile[t].begin = row[i].begin;
        if (row[i].end > tile[t].end) tile[t].end = row[i].end;
      }
      any = any || !tile[t].empty();
    }
  }

  /// Columns of s that are computed for row i: whole panels.
  Span columns(int i) const {
    const Span seen = tile[i / kTileRows];
    if (seen.empty()) return {0, 0};
    return {seen.begin / kTileCols * kTileCols, panelsOf(seen.end) * kTileCols};
  }

  /// The rows that see one of the keys begin .. end of the tile.
  Span seeing(int begin, int end) const {
    Span span = {rows, 0};
    for (int i = 0; i < rows; i++) {
      if (row[i].empty() || row[i].begin >= end || row[i].end <= begin) continue;
      if (i < span.begin) span.begin = i;
      span.end = i + 1;
    }
    return span;
  }
};

/// The lanes' positions, counted from `first`.
inline ivec lanesFrom(int first) {
  ivec lane;
  for (int i = 0; i < kLanes; i++) lane[i] = first + i;
  return lane;
}

/// x where the row sees the key, `otherwise` elsewhere; column is the position of the first lane.
inline vec where(Span seen, int column, vec x, float otherwise) {
  const ivec lane = lanesFrom(column);
  return (lane >= seen.begin) & (lane < seen.end) ? x : splat(otherwise);
}

// ---- a tile of keys ----------------------------------------------------------------------------------------------------

/// to[j][0..width) = row(j), widened, for j < count; the rest of kKeys rows of `ld` floats is left alone.
template <class Row> inline void gather(float* to, int64_t ld, int64_t count, int64_t width, Row row) {
  for (int64_t j = 0; j < count; j++) gemm::widenRow(to + j * ld, row(j), width);
}

/// Zeros the columns from `width` on of `count` rows, and all of the rows from there to kKeys.
inline void clearRest(float* to, int64_t ld, int64_t count, int64_t width) {
  if (width < ld)
    for (int64_t j = 0; j < count; j++) memset(to + j * ld + width, 0, (ld - width) * sizeof(float));
  if (count < kKeys) memset(to + count * ld, 0, (kKeys - count) * ld * sizeof(float));
}

/// Panels of the transposed tile: to[panel][channel][key % kTileCols].
inline void transposeTile(float* to, const float* from, int64_t ld, int64_t depth) {
  for (int p = 0; p < kKeyPanels; p++)
    gemm::packTransposed(to + p * depth * kTileCols, from + p * kTileCols * ld, ld, kTileCols, depth);
}

/// Rows of floats read in place as the right operand.
inline Panels<float> inPlace(const float* data, int64_t ld) { return {data, ld, kTileCols}; }
/// Panels made by transposeTile.
inline Panels<float> transposed(const float* data, int64_t depth) { return {data, kTileCols, depth * kTileCols}; }

// ---- products ----------------------------------------------------------------------------------------------------------

alignas(64) inline const float kZeros[4 * kTileCols] = {};

using Tile = void (*)(int64_t, const float*, int64_t, int64_t, Panels<float>, gemm::Rows<const float>, gemm::Rows<float>);

template <int R, int P> [[gnu::flatten]]
void tileOf(int64_t depth, const float* a, int64_t aRow, int64_t aStep, Panels<float> b, gemm::Rows<const float> start, gemm::Rows<float> c) {
  gemm::tile<R, P>(depth, a, aRow, aStep, b, start, c);
}

/// Panels that a tile of few rows takes at once: enough chains to hide the latency of one.
constexpr int widthOf(int rows) { return rows == 1 ? 4 : rows == 2 ? 2 : 1; }

struct Tiles {
  Tile narrow[kTileRows + 1], wide[kTileRows + 1];
  template <int... R> constexpr explicit Tiles(std::integer_sequence<int, R...>)
      : narrow{nullptr, tileOf<R + 1, 1>...}, wide{nullptr, tileOf<R + 1, widthOf(R + 1)>...} {}
};
inline constexpr Tiles kTiles{std::make_integer_sequence<int, kTileRows>{}};

/// One row tile, panels begin .. end: c = a b, or c += a b.
template <bool add>
inline void rowTile(int rows, int64_t depth, const float* a, int64_t aRow, int64_t aStep, Panels<float> b, Span panels, float* c, int64_t ldc) {
  const int width = widthOf(rows);
  for (int p = panels.begin; p < panels.end;) {
    const bool wide = panels.end - p >= width;
    const Panels<float> right = {b.data + p * b.panel, b.step, b.panel};
    const gemm::Rows<float> result = {c + p * kTileCols, ldc};
    const gemm::Rows<const float> start = add ? gemm::Rows<const float>{result.data, ldc} : gemm::Rows<const float>{kZeros, 0};
    (wide ? kTiles.wide : kTiles.narrow)[rows](depth, a, aRow, aStep, right, start, result);
    p += wide ? width : 1;
  }
}

/// s = a b^T for the keys that are seen: a row-major, b transposed. s has kKeys columns; those not seen are left alone.
inline void scores(const Sight& sight, int64_t depth, const float* a, int64_t lda, const float* bT, float* s) {
  const Panels<float> b = transposed(bT, depth);
  const int whole = sight.rows / kTileRows;
  for (int p = 0; p < kKeyPanels; p++)
    for (int t = 0; t < whole; t++) {
      const Span columns = sight.columns(t * kTileRows);
      if (p * kTileCols < columns.begin || p * kTileCols >= columns.end) continue;
      rowTile<false>(kTileRows, depth, a + t * kTileRows * lda, lda, 1, b, {p, p + 1}, s + t * kTileRows * kKeys, kKeys);
    }
  if (whole == sight.tiles) return;
  const int i = whole * kTileRows;
  const Span columns = sight.columns(i);
  rowTile<false>(sight.rows - i, depth, a + i * lda, lda, 1, b, {columns.begin / kTileCols, columns.end / kTileCols}, s + i * kKeys, kKeys);
}

/// c += a b, `rows` rows of c, whose row tile t takes only the steps span(t) of the depth.
template <class Depth>
inline void accumulate(int rows, int panels, const float* a, int64_t aRow, int64_t aStep, const float* b, int64_t ldb, float* c, int64_t ldc, Depth span) {
  const int whole = rows / kTileRows;
  const auto run = [&](int t, int count, Span columns) {
    const Span k = span(t);
    if (k.empty()) return;
    const int i = t * kTileRows;
    rowTile<true>(count, k.end - k.begin, a + i * aRow + k.begin * aStep, aRow, aStep, inPlace(b + k.begin * ldb, ldb), columns, c + i * ldc, ldc);
  };
  for (int p = 0; p < panels; p++)
    for (int t = 0; t < whole; t++) run(t, kTileRows, {p, p + 1});
  if (whole * kTileRows < rows) run(whole, rows - whole * kTileRows, {0, panels});
}

}  // namespace moe::MOE_ISA::attention
