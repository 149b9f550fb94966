// Softmax over keys that come tile by tile, to the base 2: s' = s log2 e. Per row a reference m, which follows the maximum of
// the scores, a running sum l and output o:
//
//   m' = max s' if that exceeds m + 8, else m    p = 2^(s' - m')    l' = l 2^(m - m') + sum p    o' = o 2^(m - m') + p v
//
// and at the end y = o / l, lse = ln 2 (m + log2 l). A maximum that grows by little leaves m as it is, since weights up to 2^8
// are as good as weights up to 1; so o is seldom scaled. Milakov & Gimelshein, arXiv:1805.02867; Dao et al., arXiv:2205.14135.
//
// A row's keys are cut at fixed distances from where its sequence begins: tiles of kKeys, and stretches of kStretch keys
// whose (m, l, o) are found apart and then merged in order. So stretches may be computed by different threads (decoding a
// long context) or one after another (training) with the same bits.
#pragma once
#include "attention_tile.h"

namespace moe::MOE_ISA::attention {

inline constexpr int64_t kStretch = 16 * kKeys;
inline constexpr float kSlack = 8;  // log2 of how far weights may exceed 1
inline constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;

/// m, l and o of some rows. l is kept per lane and summed at the end.
struct Sums {
  float *m, *l, *o;
  int64_t ld;  ///< floats from one row of o to the next

  static int64_t floats(int64_t rows, int64_t ld) { return rows * (ld + kLanes) + (divideUp(rows, 16) + 1) * 16; }
  Sums() = default;
  Sums(float* at, int64_t rows, int64_t ld) : m(at + rows * (ld + kLanes)), l(at + rows * ld), o(at), ld(ld) {}

  void clear(int64_t rows) const {
    memset(o, 0, rows * ld * sizeof(float));
    memset(l, 0, rows * kLanes * sizeof(float));
    for (int64_t i = 0; i < rows + kLanes; i++) m[i] = -kInfinity;
  }
  bool untouched(int64_t i) const { return m[i] == -kInfinity && sum(load(l + i * kLanes)) == 0.f; }  // false when NaN came
  float total(int64_t i) const { return sum(load(l + i * kLanes)); }
};

inline float exp2Of(float x) { return exp2(splat(x))[0]; }

/// Row i of `to` gets the keys of row j of `from`, which come after its own.
inline void merge(const Sums& to, int64_t i, const Sums& from, int64_t j) {
  if (from.untouched(j)) return;
  float* o = to.o + i * to.ld;
  const float* other = from.o + j * from.ld;
  if (to.untouched(i)) {
    memcpy(o, other, to.ld * sizeof(float));
    memcpy(to.l + i * kLanes, from.l + j * kLanes, kLanes * sizeof(float));
    to.m[i] = from.m[j];
    return;
  }
  const float m = to.m[i] > from.m[j] ? to.m[i] : from.m[j];
  const vec mine = splat(exp2Of(to.m[i] - m)), theirs = splat(exp2Of(from.m[j] - m));
  for (int64_t c = 0; c < to.ld; c += kLanes) store(o + c, load(o + c) * mine + load(other + c) * theirs);
  store(to.l + i * kLanes, load(to.l + i * kLanes) * mine + load(from.l + j * kLanes) * theirs);
  to.m[i] = m;
}

/// o / l in place; zeros for a row that saw nothing. Returns lse.
inline float normalise(const Sums& sums, int64_t i) {
  const bool none = sums.untouched(i);
  const float total = sums.total(i);
  const vec share = splat(none ? 0.f : 1.f / total);
  float* row = sums.o + i * sums.ld;
  for (int64_t c = 0; c < sums.ld; c += kLanes) store(row + c, load(row + c) * share);
  return none ? -kInfinity : kLn2 * sums.m[i] + logf(total);
}

/// Rows of queries, made of units U, and what they have gathered so far. A row is a query of one head.
template <class U> struct Queries {
  U* q;           ///< [rows][depth]
  int32_t *from, *to;  ///< visible keys of each row, counted from where the tiles begin
  Sums now;       ///< of the present stretch
  Sums all;       ///< of the stretches before; absent (o is null) when there is only one
  int64_t rows, depth, width;  ///< depth in units

  static int64_t bytes(int64_t rows, int64_t depth, int64_t width, bool stretches) {
    return (Sums::floats(rows, padded(width)) * (stretches ? 2 : 1) + rows * (unitsOf<U>(depth) + 2) + 64) * static_cast<int64_t>(sizeof(float));
  }
  Queries(void* memory, int64_t rows, int64_t depth, int64_t width, bool stretches)
      : all{}, rows(rows), depth(unitsOf<U>(depth)), width(width) {
    auto* at = static_cast<float*>(memory);
    const int64_t ld = padded(width), step = Sums::floats(rows, ld);
    now = Sums(at, rows, ld);
    now.clear(rows);
    at += step;
    if (stretches) {
      all = Sums(at, rows, ld);
      all.clear(rows);
      at += step;
    } else all.o = nullptr;
    q = reinterpret_cast<U*>(at);
    from = reinterpret_cast<int32_t*>(at + rows * this->depth);
    to = from + rows;
  }

  /// Row i of q: `steps` elements.
  template <class T> void read(int64_t i, const T* row, int64_t steps) const {
    if constexpr (kPairs<U>) gemm::packPairsAlong(q + i * depth, depth, 1, 0, depth, steps, [row](int64_t) { return row; });
    else gemm::widenRow(q + i * depth, row, steps);
  }

  /// Call when the keys before `key` are done: closes a stretch that ends there.
  void reached(int64_t key) const {
    if (!all.o || key % kStretch != 0) return;
    for (int64_t i = 0; i < rows; i++) merge(all, i, now, i);
    now.clear(rows);
  }
  /// Closes the last stretch; where the results are.
  const Sums& finish() const {
    if (!all.o) return now;
    for (int64_t i = 0; i < rows; i++) merge(all, i, now, i);
    return all;
  }
};

/// One tile of keys, ready for the products.
template <class U> struct KeyTile {
  Panels<U> keys;    ///< by transposeTile()
  Panels<U> values;  ///< by acrossRows(), zero from the last key on
};

/// Where keys [kKeys][ldk] and values [kKeys][ldv] are gathered, and their panels made.
template <class U> struct TileRoom {
  U *keysT, *across;
  Element<U> *keys, *values;
  int64_t ldk, ldv, depth, width;

  static int64_t units(int64_t depth, int64_t width) { return kKeys * (2 * padded(depth) + padded(width)); }
  TileRoom(U* at, int64_t depth, int64_t width) : ldk(padded(depth)), ldv(padded(width)), depth(depth), width(width) {
    keysT = at;
    keys = reinterpret_cast<Element<U>*>(keysT + kKeys * ldk);
    values = keys + kKeys * ldk;
    across = reinterpret_cast<U*>(values + kKeys * ldv);  // unused for floats
  }
  KeyTile<U> tile() const { return {transposeTile(keysT, keys, ldk, depth), acrossRows(across, values, ldv, kKeys, width)}; }
};

/// m follows the highest scores of a row tile's rows; o and l are scaled where it moved.
inline void follow(const Sums& sums, int64_t first, int rows, vec high) {
  float* m = sums.m + first;
  const vec before = load(m);
  const ivec grows = (high > before + kSlack) & (lanes() < rows);
  if (!any(grows)) return;
  store(m, grows ? high : before);
  float shrink[kLanes], old[kLanes];
  store(shrink, exp2(before - high));
  store(old, before);
  for (int i = 0; i < rows; i++) {
    if (!grows[i] || old[i] == -kInfinity) continue;  // without keys o and l are 0
    float *o = sums.o + (first + i) * sums.ld, *l = sums.l + (first + i) * kLanes;
    for (int64_t c = 0; c < sums.ld; c += kLanes) store(o + c, load(o + c) * shrink[i]);
    store(l, load(l) * shrink[i]);
  }
}

/// The scores of one row become weights in their place, units U; l gets their sum.
template <class U, bool whole> inline void weighRow(Span seen, Span columns, float scale, float m, float* s, float* l) {
  const auto weight = [&](int c) {
    const vec p = exp2(fma(load(s + c), splat(scale), splat(-m)));
    return whole ? p : where(seen, c, p, 0.f);
  };
  vec total = load(l);
  for (int c = columns.begin; c < columns.end; c += 2 * kLanes) {
    const vec p = weight(c), next = weight(c + kLanes);
    total += p + next;
    if constexpr (kPairs<U>) {
      storeTwo(reinterpret_cast<bf16*>(s) + c, p, next);
    } else {
      store(s + c, p);
      store(s + c + kLanes, next);
    }
  }
  store(l, total);
}

template <bool whole> inline vec highest(Span seen, Span columns, float scale, const float* s) {
  vec top = splat(-kInfinity);
  for (int c = columns.begin; c < columns.end; c += kLanes) {
    const vec x = load(s + c) * scale;
    top = vmax(whole ? x : where(seen, c, x, -kInfinity), top);
  }
  return top;
}

/// The scores s [rows][kKeys] of the row tile that begins with the block's row i become weights; m, l and o follow. `first` is
/// that row among all.
template <class U> inline void weigh(const Sums& sums, const Sight& sight, int i, int64_t first, float scale, float* s) {
  const Span columns = sight.columns(i);
  if (columns.empty()) return;
  const int rows = sight.rows - i < kTileRows ? sight.rows - i : kTileRows;
  const auto run = [&]<bool whole>(std::bool_constant<whole>) {
    vec top[kLanes];
    for (int r = rows; r < kLanes; r++) top[r] = splat(-kInfinity);
    for (int r = 0; r < rows; r++) top[r] = highest<whole>(sight.row(i + r), columns, scale, s + r * kKeys);
    follow(sums, first, rows, maxima(top));
    for (int r = 0; r < rows; r++) {
      const float m = sums.m[first + r];
      weighRow<U, whole>(sight.row(i + r), columns, scale, m == -kInfinity ? 0.f : m, s + r * kKeys, sums.l + (first + r) * kLanes);
    }
  };
  if (sight.whole(i)) run(std::true_type{});
  else run(std::false_type{});
}

/// Rows first .. first + count meet the tile that begins at `key`. s is room for kQueries x kKeys floats.
template <class U> inline void attend(const Queries<U>& q, int64_t first, int64_t count, const KeyTile<U>& tile, int64_t key, float scale, float* s) {
  for (int64_t block = first; block < first + count; block += kQueries) {
    const int rows = static_cast<int>(least(kQueries, first + count - block));
    const Sight sight(q.from + block, q.to + block, rows, key);
    if (!sight.any) continue;
    for (int i = 0; i < rows; i += kScored<U>) {
      const int some = rows - i < kScored<U> ? rows - i : kScored<U>;
      scores(sight, i, q.depth, q.q + (block + i) * q.depth, q.depth, tile.keys, s);
      for (int j = i; j < i + some; j += kTileRows) weigh<U>(q.now, sight, j, block + j, scale * kLog2E, s + (j - i) * kKeys);
      accumulate(some, panelsOf(q.width), reinterpret_cast<const U*>(s), kKeys, 1, tile.values, q.now.o + (block + i) * q.now.ld, q.now.ld,
                 [&](int t) { return sight.tile[i / kTileRows + t]; });
    }
  }
}

}  // namespace moe::MOE_ISA::attention
