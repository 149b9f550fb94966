// What the attention kernels share: a tile of keys, which part of it each query sees, and products on it.
//
// Queries are worked on in blocks of kQueries rows, keys in tiles of kKeys. The products are those of gemm/tile.h, cut in row
// tiles of kTileRows; each row tile takes only the keys that one of its rows sees, so that a causal mask costs half a row tile
// beside the diagonal, not half a block. Operands are made of units U as there: floats, or, of bf16 on a CPU that multiplies
// them, pairs of two steps of the sum: channels for scores, keys or rows for the others. Then weights are rounded to bf16.
//
// Each score is one chain of multiply-adds over the channels, each output one over the keys, in increasing order; pairs begin
// at even steps. A key that a row does not see enters with weight 0 and leaves the chain's bits as they are; so a row's bits
// do not depend on the rows it shares a tile with.
#pragma once
#include <limits>
#include <type_traits>
#include <utility>

#include "gemm/pairs.h"

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
static_assert(kTileRows <= kLanes && kTileRows % 2 == 0);

// ---- units -------------------------------------------------------------------------------------------------------------

template <class T> struct UnitOf { using Type = float; };
template <> struct UnitOf<bf16> { using Type = std::conditional_t<kMultipliesPairs, pair, float>; };
/// What tensors of T are multiplied as.
template <class T> using Unit = typename UnitOf<T>::Type;

template <class U> inline constexpr bool kPairs = std::is_same_v<U, pair>;
/// What rows of units are made of.
template <class U> using Element = std::conditional_t<kPairs<U>, bf16, float>;
/// Units that n steps take, and the unit that holds step n.
template <class U> constexpr int64_t unitsOf(int64_t n) { return kPairs<U> ? (n + 1) / 2 : n; }
template <class U> constexpr int64_t unitAt(int64_t n) { return kPairs<U> ? n / 2 : n; }

/// Rows whose scores are computed before they become weights: a row tile of pairs goes on while it is in the first-level cache;
/// for floats a panel of keys passes many rows before the next comes.
template <class U> inline constexpr int kScored = kPairs<U> ? kTileRows : kQueries;

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

/// The keys of a tile that a block's rows see.
struct Sight {
  int begin[kQueries], end[kQueries];  ///< of each row; no keys when end <= begin
  Span tile[kRowTiles], common[kRowTiles];  ///< seen by one of a row tile's rows, and by all of them
  int rows;
  bool any;

  /// `from` and `to`: the visible keys of each row, counted like `key`, the first key of the tile.
  Sight(const int32_t* from, const int32_t* to, int rows, int64_t key) : rows(rows), any(false) {
    const int first = static_cast<int>(key);
    for (int i = 0; i < rows; i++) {
      begin[i] = from[i] > first ? from[i] - first : 0;
      end[i] = to[i] - first < kKeys ? to[i] - first : kKeys;
    }
    for (int t = 0; t * kTileRows < rows; t++) {
      tile[t] = {kKeys, 0};
      common[t] = {0, kKeys};
      for (int i = t * kTileRows; i < rows && i < (t + 1) * kTileRows; i++) {
        const bool none = end[i] <= begin[i];
        tile[t].begin = none || begin[i] > tile[t].begin ? tile[t].begin : begin[i];
        tile[t].end = none || end[i] < tile[t].end ? tile[t].end : end[i];
        common[t].begin = begin[i] > common[t].begin ? begin[i] : common[t].begin;
        common[t].end = end[i] < common[t].end ? end[i] : common[t].end;
      }
      any = any || !tile[t].empty();
    }
  }

  Span row(int i) const { return {begin[i], end[i]}; }

  /// Columns of s that are computed for row i: whole panels.
  Span columns(int i) const {
    const Span seen = tile[i / kTileRows];
    if (seen.empty()) return {0, 0};
    return {seen.begin / kTileCols * kTileCols, panelsOf(seen.end) * kTileCols};
  }

  /// True when row i and the others of its row tile see all of these columns.
  bool whole(int i) const {
    const Span seen = common[i / kTileRows], computed = columns(i);
    return seen.begin <= computed.begin && seen.end >= computed.end;
  }

  /// The rows that see one of the keys first .. last of the tile.
  Span seeing(int first, int last) const {
    Span span = {rows, 0};
    for (int i = 0; i < rows; i++) {
      const bool sees = begin[i] < end[i] && begin[i] < last && end[i] > first;
      const int from = sees ? i : rows, to = sees ? i + 1 : 0;
      span.begin = from < span.begin ? from : span.begin;
      span.end = to > span.end ? to : span.end;
    }
    return span;
  }
};

/// The lanes' numbers.
inline ivec lanes() {
  ivec lane;
  for (int i = 0; i < kLanes; i++) lane[i] = i;
  return lane;
}

/// x where the row sees the key, `otherwise` elsewhere; column is the position of the first lane.
inline vec where(Span seen, int column, vec x, float otherwise) {
  const ivec lane = lanes();
  return (lane >= seen.begin - column) & (lane < seen.end - column) ? x : splat(otherwise);
}

// ---- a tile of keys ----------------------------------------------------------------------------------------------------

inline void copyRow(float* to, const float* from, int64_t n) { memcpy(to, from, n * sizeof(float)); }
inline void copyRow(float* to, const bf16* from, int64_t n) { gemm::widenRow(to, from, n); }
inline void copyRow(bf16* to, const bf16* from, int64_t n) { memcpy(to, from, n * sizeof(bf16)); }

/// to[j][0..width) = row(j) for j < count; the rest of the rows of `ld` elements is left alone.
template <class E, class Row> inline void gather(E* to, int64_t ld, int64_t count, int64_t width, Row row) {
  for (int64_t j = 0; j < count; j++) copyRow(to + j * ld, row(j), width);
}

/// Zeros the columns from `width` on of `count` rows, and all of the rows from there to `rows`.
template <class E> inline void clearRest(E* to, int64_t ld, int64_t count, int64_t width, int64_t rows = kKeys) {
  if (width < ld)
    for (int64_t j = 0; j < count; j++) memset(to + j * ld + width, 0, (ld - width) * sizeof(E));
  if (count < rows) memset(to + count * ld, 0, (rows - count) * ld * sizeof(E));
}

/// Panels of a tile [kKeys][ld] transposed, which columns run along keys. `to` has room for kKeys * padded(depth) units.
inline Panels<float> transposeTile(float* to, const float* from, int64_t ld, int64_t depth) {
  for (int p = 0; p < kKeyPanels; p++) gemm::packTransposed(to + p * depth * kTileCols, from + p * kTileCols * ld, ld, kTileCols, depth);
  return {to, kTileCols, depth * kTileCols};
}
inline Panels<pair> transposeTile(pair* to, const bf16* from, int64_t ld, int64_t depth) {
  constexpr int64_t kCols = gemm::kPairCols;
  const int64_t panel = gemm::pairPanelSize(depth) / 2;
  for (int64_t p = 0; p < kKeys / kCols; p++) gemm::packPairPanel(reinterpret_cast<bf16*>(to + p * panel), from + p * kCols * ld, ld, kCols, depth);
  return {to, kCols, panel};
}

/// Panels whose columns run along `width`, of an even number of rows [rows][ld], zero-padded; pairs go to to[rows / 2][ld].
inline Panels<float> acrossRows(float*, const float* from, int64_t ld, int64_t, int64_t) { return {from, ld, kTileCols}; }
inline Panels<pair> acrossRows(pair* to, const bf16* from, int64_t ld, int64_t rows, int64_t width) {
  gemm::packPairsAcross(to, ld, gemm::kPairCols, panelsOf(width) * kTileCols, 0, rows / 2, rows, [&](int64_t k) { return from + k * ld; });
  return {to, ld, gemm::kPairCols};
}

/// The panels from row `unit` on.
template <class U> inline Panels<U> below(const Panels<U>& b, int64_t unit) { return {b.data + unit * b.step, b.step, b.panel}; }

// ---- products ----------------------------------------------------------------------------------------------------------

alignas(64) inline const float kZeros[4 * kTileCols] = {};

template <class U> using Tile = void (*)(int64_t, const U*, int64_t, int64_t, Panels<U>, gemm::Rows<const float>, gemm::Rows<float>);

template <class U, int R, int P> [[gnu::flatten]]
void tileOf(int64_t depth, const U* a, int64_t aRow, int64_t aStep, Panels<U> b, gemm::Rows<const float> start, gemm::Rows<float> c) {
  gemm::tile<R, P>(depth, a, aRow, aStep, b, start, c);
}

/// Times kTileCols columns that a tile of few rows takes at once: enough chains to hide the latency of one.
constexpr int widthOf(int rows) { return rows == 1 ? 4 : rows == 2 || (kLanes == 16 && rows <= 6) ? 2 : 1; }

template <class U> struct Tiles {
  Tile<U> narrow[kTileRows + 1], wide[kTileRows + 1];
  template <int... R> constexpr explicit Tiles(std::integer_sequence<int, R...>)
      : narrow{nullptr, tileOf<U, R + 1, 1>...}, wide{nullptr, tileOf<U, R + 1, widthOf(R + 1)>...} {}
};
template <class U> inline constexpr Tiles<U> kTiles{std::make_integer_sequence<int, kTileRows>{}};

/// One row tile, the columns of `span` in steps of kTileCols: c = a b, or c += a b.
template <bool add, class U>
inline void rowTile(int rows, int64_t depth, const U* a, int64_t aRow, int64_t aStep, const Panels<U>& b, Span span, float* c, int64_t ldc) {
  const int width = widthOf(rows);
  for (int p = span.begin; p < span.end;) {
    const bool wide = span.end - p >= width;
    const gemm::Rows<float> result = {c + p * kTileCols, ldc};
    const gemm::Rows<const float> start = add ? gemm::Rows<const float>{result.data, ldc} : gemm::Rows<const float>{kZeros, 0};
    (wide ? kTiles<U>.wide : kTiles<U>.narrow)[rows](depth, a, aRow, aStep, b.from(p * kTileCols), start, result);
    p += wide ? width : 1;
  }
}

/// s = a b for the keys that are seen by the block's rows first .. first + kScored: a row-major, `depth` units long, b by
/// transposeTile(). s has kKeys columns; those not seen are left alone.
template <class U> inline void scores(const Sight& sight, int first, int64_t depth, const U* a, int64_t lda, const Panels<U>& b, float* s) {
  const int rows = sight.rows - first < kScored<U> ? sight.rows - first : kScored<U>, whole = rows / kTileRows;
  for (int p = 0; p < kKeyPanels; p++)
    for (int t = 0; t < whole; t++) {
      const Span columns = sight.columns(first + t * kTileRows);
      if (p * kTileCols < columns.begin || p * kTileCols >= columns.end) continue;
      rowTile<false>(kTileRows, depth, a + t * kTileRows * lda, lda, 1, b, {p, p + 1}, s + t * kTileRows * kKeys, kKeys);
    }
  const int i = whole * kTileRows;
  if (i == rows) return;
  const Span columns = sight.columns(first + i);
  rowTile<false>(rows - i, depth, a + i * lda, lda, 1, b, {columns.begin / kTileCols, columns.end / kTileCols}, s + i * kKeys, kKeys);
}

/// c += a b, `rows` rows of c, whose row tile t takes only the steps span(t) of the sum.
template <class U, class Depth>
inline void accumulate(int rows, int panels, const U* a, int64_t aRow, int64_t aStep, const Panels<U>& b, float* c, int64_t ldc, Depth span) {
  const int whole = rows / kTileRows;
  const auto run = [&](int t, int count, Span columns) {
    const Span k = span(t);
    if (k.empty()) return;
    const int64_t i = t * kTileRows, begin = unitAt<U>(k.begin);
    rowTile<true>(count, unitsOf<U>(k.end) - begin, a + i * aRow + begin * aStep, aRow, aStep, below(b, begin), columns, c + i * ldc, ldc);
  };
  for (int p = 0; p < panels; p++)
    for (int t = 0; t < whole; t++) run(t, kTileRows, {p, p + 1});
  if (whole * kTileRows < rows) run(whole, rows - whole * kTileRows, {0, panels});
}

}  // namespace moe::MOE_ISA::attention
