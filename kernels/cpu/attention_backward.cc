// Attention, backward. With p recomputed from lse:
//
//   delta[r] = <do[r], o[r]>    p = exp(s - lse[r])    ds = scale * p * (<do[r], v[j]> - delta[r])
//   dv[j] = sum_r p do[r]       dk[j] = sum_r ds q[r]  dq[r] = sum_j ds k[j]
//
// How it runs: a task owns one key head of one segment, so nothing is shared between tasks but dk_shared, whose parts are
// added up afterwards, head by head. It keeps q, do and the three gradients in f32; for each tile of keys it takes the
// blocks of rows that see it. Every gradient element is one chain over rows or keys in increasing order, through memory.
// What bounds it: the multiply-adds of five products, 6 D + 4 V operations for each pair that is seen.
#include "attention_segments.h"

namespace moe::MOE_ISA {

using namespace attention;

namespace {

/// dst = beta*dst + value, n elements.
template <class T> void deliver(T* to, float beta, const float* value, int64_t n) {
  if (beta == 0.f) return gemm::narrowRow(to, value, n);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, load(to + i) + load(value + i));
  for (; i < n; i++) put(to + i, widen(to[i]) + value[i]);
}

/// What a task keeps while it goes over one head of its segment. Rows and keys are counted from the segment's first.
struct Room {
  float *q, *dout, *dq;      ///< [rows][ldd], [rows][ldv], [rows][ldd]
  float *delta, *lse;        ///< [rows]
  float *dk, *dv;            ///< [keys][ldd], [keys][ldv]
  float *keys, *keysT, *values, *valuesT, *s, *ds;
  int32_t *from, *to;        ///< [rows] visible keys
  int64_t ldd, ldv;

  static int64_t floats(const Sizes& n, int64_t rows, int64_t keys) {
    const int64_t ldd = padded(n.depth), ldv = padded(n.width), row = 2 * ldd + ldv + 4;
    return rows * row + keys * (ldd + ldv) + 2 * kKeys * (ldd + ldv + kQueries) + ldd + ldv;
  }
  Room(float* at, const Sizes& n, int64_t rows, int64_t keyCount) : ldd(padded(n.depth)), ldv(padded(n.width)) {
    const auto take = [&](int64_t count) { return at += count, at - count; };
    keys = take(kKeys * ldd), keysT = take(kKeys * ldd), values = take(kKeys * ldv), valuesT = take(kKeys * ldv);
    s = take(kQueries * kKeys), ds = take(kQueries * kKeys);
    q = take(rows * ldd), dout = take(rows * ldv), dq = take(rows * ldd);
    dk = take(keyCount * ldd), dv = take(keyCount * ldv);
    delta = take(rows), lse = take(rows);
    from = reinterpret_cast<int32_t*>(take(rows)), to = reinterpret_cast<int32_t*>(take(rows));
  }
};

struct Backward {
  const Acc &dq, &dk, &dv, &dkShared;
  const In &dout, &q, &k, &v;
  const MaybeIn& kShared;
  const In &o, &lse;
  const int32_t* ranges;
  float scale;
  float* parts;  ///< [groups][keys][shared]: each key head's part of dk_shared
  Sizes n;

  template <class T> void run(const Segment& segment, int64_t group, int worker) const {
    const int64_t keys = segment.end - segment.begin, heads = n.heads / n.groups;
    auto* memory = static_cast<float*>(parallel::scratch(worker, 0, Room::floats(n, segment.rows, keys) * static_cast<int64_t>(sizeof(float))));
    const Room room(memory, n, segment.rows, keys);
    memset(room.dk, 0, keys * room.ldd * sizeof(float));
    memset(room.dv, 0, keys * room.ldv * sizeof(float));
    for (int64_t head = group * heads; head < (group + 1) * heads; head++) {
      readRows<T>(room, segment, head);
      for (int64_t key = 0; key < keys; key += kKeys) {
        const int64_t count = least(kKeys, keys - key);
        gatherKeys<T>(room.keys, room.ldd, n, k, kShared, group, segment.begin + key, count);
        gatherValues<T>(room.values, room.ldv, n, v, group, segment.begin + key, count);
        transposeTile(room.keysT, room.keys, room.ldd, n.depth);
        transposeTile(room.valuesT, room.values, room.ldv, n.width);
        for (int64_t row = 0; row < segment.rows; row += kQueries) pair(room, row, static_cast<int>(least(kQueries, segment.rows - row)), key, static_cast<int>(count));
      }
      if (dq)
        for (int64_t i = 0; i < segment.rows; i++) deliver(at<T>(dq, segment.row + i, head), dq.beta, room.dq + i * room.ldd, n.depth);
    }
    writeKeys<T>(room, segment, group);
  }

  template <class T> void readRows(const Room& room, const Segment& segment, int64_t head) const {
    const int64_t rows = segment.rows;
    memset(room.dq, 0, rows * room.ldd * sizeof(float));
    for (int64_t i = 0; i < rows; i++) {
      const int64_t r = segment.row + i;
      float *qi = room.q + i * room.ldd, *di = room.dout + i * room.ldv;
      gemm::widenRow(qi, at<const T>(q, r, head), n.depth);
      gemm::widenRow(di, at<const T>(dout, r, head), n.width);
      for (int64_t c = n.depth; c < room.ldd; c++) qi[c] = 0;
      for (int64_t c = n.width; c < room.ldv; c++) di[c] = 0;
      room.delta[i] = innerProduct(di, at<const T>(o, r, head));
      room.lse[i] = lse.as<float>()[r * n.heads + head];
      const int32_t* range = ranges + 2 * r;
      const bool some = range[0] < range[1];
      room.from[i] = some ? static_cast<int32_t>(range[0] - segment.begin) : 0;
      room.to[i] = some ? static_cast<int32_t>(range[1] - segment.begin) : 0;
    }
  }

  /// <do, o>
  template <class T> float innerProduct(const float* dout, const T* o) const {
    vec total = {};
    int64_t c = 0;
    for (; c + kLanes <= n.width; c += kLanes) total = fma(load(dout + c), load(o + c), total);
    if (c < n.width) total = fma(load(dout + c), loadPart(o + c, static_cast<int>(n.width - c)), total);
    return sum(total);
  }

  /// A block of rows meets a tile of keys.
  void pair(const Room& room, int64_t row, int rows, int64_t key, int keys) const {
    const Sight sight(room.from + row, room.to + row, rows, key);
    if (!sight.any) return;
    const float *qs = room.q + row * room.ldd, *dos = room.dout + row * room.ldv;
    scores(sight, n.depth, qs, room.ldd, room.keysT, room.s);
    scores(sight, n.width, dos, room.ldv, room.valuesT, room.ds);
    for (int i = 0; i < rows; i++) weigh(sight.row[i], sight.columns(i), room.lse[row + i], room.delta[row + i], room.s + i * kKeys, room.ds + i * kKeys);
    Span seeing[kKeys / kTileRows + 1];
    for (int t = 0; t * kTileRows < keys; t++) seeing[t] = sight.seeing(t * kTileRows, (t + 1) * kTileRows);
    const auto ofKeys = [&](int t) { return seeing[t]; };
    if (dv) accumulate(keys, panelsOf(n.width), room.s, 1, kKeys, dos, room.ldv, room.dv + key * room.ldv, room.ldv, ofKeys);
    if (dk || dkShared) accumulate(keys, panelsOf(n.depth), room.ds, 1, kKeys, qs, room.ldd, room.dk + key * room.ldd, room.ldd, ofKeys);
    if (dq) accumulate(rows, panelsOf(n.depth), room.ds, kKeys, 1, room.keys, room.ldd, room.dq + row * room.ldd, room.ldd, [&](int t) { return sight.tile[t]; });
  }

  /// s becomes p, dp becomes ds; both are 0 where the row does not see the key.
  void weigh(Span seen, Span columns, float lse, float delta, float* s, float* dp) const {
    const auto clear = [&](int begin, int end) {
      memset(s + begin, 0, (end - begin) * sizeof(float));
      memset(dp + begin, 0, (end - begin) * sizeof(float));
    };
    if (seen.empty()) return clear(0, kKeys);
    clear(0, columns.begin);
    clear(columns.end, kKeys);
    const bool whole = seen.begin <= columns.begin && seen.end >= columns.end;
    for (int c = columns.begin; c < columns.end; c += kLanes) {
      vec p = exp(load(s + c) * scale - lse);
      vec d = p * (load(dp + c) - delta) * scale;
      if (!whole) p = where(seen, c, p, 0.f), d = where(seen, c, d, 0.f);
      store(s + c, p);
      store(dp + c, d);
    }
  }

  template <class T> void writeKeys(const Room& room, const Segment& segment, int64_t group) const {
    float* zeros = room.keys;  // the tile is done with
    memset(zeros, 0, (room.ldd + room.ldv) * sizeof(float));
    for (int64_t s = segment.first; s < segment.last; s++) {
      const bool seen = s >= segment.begin && s < segment.end;
      const float* key = seen ? room.dk + (s - segment.begin) * room.ldd : zeros;
      const float* value = seen ? room.dv + (s - segment.begin) * room.ldv : zeros;
      if (dk) deliver(at<T>(dk, s, group), dk.beta, key, n.own);
      if (dv) deliver(at<T>(dv, s, group), dv.beta, value, n.width);
      if (dkShared) memcpy(parts + (group * n.keys + s) * n.shared, key + n.own, n.shared * sizeof(float));
    }
  }

  /// dk_shared: the sum over heads, in order.
  template <class T> void addShared(int64_t s) const {
    float* total = parts + s * n.shared;
    for (int64_t g = 1; g < n.groups; g++)
      for (int64_t c = 0; c < n.shared; c++) total[c] += parts[(g * n.keys + s) * n.shared + c];
    deliver(dkShared.as<T>() + s * dkShared.stride[0], dkShared.beta, total, n.shared);
  }
};

}  // namespace

void attention_backward(Acc dq, Acc dk, Acc dv, Acc dkShared, In dout, In q, In k, In v, MaybeIn kShared, In o, In lse, In ranges, float scale) {
  const Sizes n(q, k, v, kShared);
  if (dkShared && !kShared) throw Error("bad-argument", "attention_backward: dk_shared is given without k_shared.");
  const int64_t table = Segments::bytes(n.rows), parts = dkShared ? n.groups * n.keys * n.shared * static_cast<int64_t>(sizeof(float)) : 0;
  auto* memory = static_cast<char*>(parallel::shared(parts + table));
  const Segments segments = findSegments(ranges, n.keys, reinterpret_cast<Segment*>(memory + parts));
  const Backward backward = {dq, dk, dv, dkShared, dout, q, k, v, kShared, o, lse, ranges.as<int32_t>(), scale, reinterpret_cast<float*>(memory), n};
  dispatch(q.dtype, [&](auto t) {
    using T = decltype(t);
    parallel::loop(segments.count * n.groups, [&](int64_t task, int worker) { backward.run<T>(segments.list[task / n.groups], task % n.groups, worker); });
    if (!dkShared) return;
    constexpr int64_t kRows = 64;
    parallel::loop(divideUp(n.keys, kRows), [&](int64_t task, int) {
      for (int64_t s = task * kRows; s < least(n.keys, (task + 1) * kRows); s++) backward.addShared<T>(s);
    });
  });
}

}  // namespace moe::MOE_ISA
