// Softmax over keys that come tile by tile. Per row a running maximum m, sum l and output o:
//
//   m' = max(m, max s)    p = exp(s - m')    l' = l exp(m - m') + sum p    o' = o exp(m - m') + p v
//
// and at the end y = o / l, lse = m + ln l. Milakov & Gimelshein, arXiv:1805.02867; Dao et al., arXiv:2205.14135.
//
// A row's keys are cut at fixed distances from where its sequence begins: tiles of kKeys, and stretches of kStretch keys
// whose (m, l, o) are found apart and then merged in order. So stretches may be computed by different threads (decoding a
// long context) or one after another (training) with the same bits.
#pragma once
#include "attention_tile.h"

namespace moe::MOE_ISA::attention {

inline constexpr int64_t kStretch = 16 * kKeys;

/// m, l and o of some rows. l is kept per lane and summed at the end.
struct Sums {
  float *m, *l, *o;
  int64_t ld;  ///< floats from one row of o to the next

  static int64_t floats(int64_t rows, int64_t ld) { return rows * (ld + kLanes) + divideUp(rows, 16) * 16; }
  Sums() = default;
  Sums(float* at, int64_t rows, int64_t ld) : m(at + rows * (ld + kLanes)), l(at + rows * ld), o(at), ld(ld) {}

  void clear(int64_t rows) const {
    memset(o, 0, rows * ld * sizeof(float));
    memset(l, 0, rows * kLanes * sizeof(float));
    for (int64_t i = 0; i < rows; i++) m[i] = -kInfinity;
  }
  bool untouched(int64_t i) const { return m[i] == -kInfinity && sum(load(l + i * kLanes)) == 0.f; }  // false when NaN came
  float total(int64_t i) const { return sum(load(l + i * kLanes)); }
};

inline float expOf(float x) { return exp(splat(x))[0]; }

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
  const vec mine = splat(expOf(to.m[i] - m)), theirs = splat(expOf(from.m[j] - m));
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
  return none ? -kInfinity : sums.m[i] + logf(total);
}

/// Rows of queries and what they have gathered so far. A row is a query of one head.
struct Queries {
  float* q;       ///< [rows][depth], not padded
  int32_t *from, *to;  ///< visible keys of each row, counted from where the tiles begin
  Sums now;       ///< of the present stretch
  Sums all;       ///< of the stretches before; absent (o is null) when there is only one
  int64_t rows, depth, width;

  static int64_t bytes(int64_t rows, int64_t depth, int64_t width, bool stretches) {
    return (Sums::floats(rows, padded(width)) * (stretches ? 2 : 1) + rows * (depth + 2) + 64) * static_cast<int64_t>(sizeof(float));
  }
  Queries(void* memory, int64_t rows, int64_t depth, int64_t width, bool stretches) : all{}, rows(rows), depth(depth), width(width) {
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
    q = at;
    from = reinterpret_cast<int32_t*>(at + rows * depth);
    to = from + rows;
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
struct KeyTile {
  const float* keysT;   ///< transposeTile of the keys
  const float* values;  ///< [kKeys][ld], zero from the last key on
  int64_t ld;           ///< at least padded(width)
};

/// The step of row i: scores in s become weights, m, l and o follow the new maximum.
inline void step(const Queries& q, int64_t i, Span seen, Span columns, float scale, float* s) {
  if (seen.empty()) {
    memset(s + columns.begin, 0, (columns.end - columns.begin) * sizeof(float));
    return;
  }
  const bool whole = seen.begin <= columns.begin && seen.end >= columns.end;
  vec top = splat(-kInfinity);
  for (int c = columns.begin; c < columns.end; c += kLanes) {
    vec x = load(s + c) * scale;
    if (!whole) x = where(seen, c, x, -kInfinity);
    store(s + c, x);
    top = vmax(x, top);
  }
  const float high = maximum(top), before = q.now.m[i];
  float* l = q.now.l + i * kLanes;
  if (high > before) {
    q.now.m[i] = high;
    if (before != -kInfinity) {  // else they are 0
      const vec shrink = splat(expOf(before - high));
      float* o = q.now.o + i * q.now.ld;
      for (int64_t c = 0; c < q.now.ld; c += kLanes) store(o + c, load(o + c) * shrink);
      store(l, load(l) * shrink);
    }
  }
  const vec m = splat(q.now.m[i] == -kInfinity ? 0.f : q.now.m[i]);
  vec sums = vec{};
  for (int c = columns.begin; c < columns.end; c += kLanes) {
    const vec p = exp(load(s + c) - m);
    store(s + c, p);
    sums += p;
  }
  store(l, load(l) + sums);
}

/// Rows first .. first + count meet the tile that begins at `key`. s is room for kQueries x kKeys floats.
inline void attend(const Queries& q, int64_t first, int64_t count, const KeyTile& tile, int64_t key, float scale, float* s) {
  for (int64_t block = first; block < first + count; block += kQueries) {
    const int rows = static_cast<int>(least(kQueries, first + count - block));
    const Sight sight(q.from + block, q.to + block, rows, key);
    if (!sight.any) continue;
    scores(sight, q.depth, q.q + block * q.depth, q.depth, tile.keysT, s);
    for (int i = 0; i < rows; i++) step(q, block + i, sight.row[i], sight.columns(i), scale, s + i * kKeys);
    accumulate(rows, panelsOf(q.width), s, kKeys, 1, tile.values, tile.ld, q.now.o + block * q.now.ld, q.now.ld, [&](int t) { return sight.tile[t]; });
  }
}

}  // namespace moe::MOE_ISA::attention
