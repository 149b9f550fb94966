// Attention, backward. With p recomputed from lse:
//
//   delta[r] = <do[r], o[r]>    p = exp(s - lse[r])    ds = scale * p * (<do[r], v[j]> - delta[r])
//   dv[j] = sum_r p do[r]       dk[j] = sum_r ds q[r]  dq[r] = sum_j ds k[j]
//
// How it runs: a task owns one key head of one segment, so nothing is shared between tasks but dk_shared, whose parts are
// added up afterwards, head by head. It keeps q and do and the three gradients, these in f32; for each tile of keys it takes
// the blocks of rows that see it. Where bf16 is multiplied in pairs, q, do and p lie in pairs of rows, ds also in pairs of
// keys, both rounded to bf16. Every gradient element is one chain over rows or keys in increasing order, through memory; the
// scale comes last. What bounds it: the multiply-adds of five products, 6 D + 4 V operations for each pair that is seen.
#include "attention_online.h"
#include "attention_segments.h"

namespace moe::MOE_ISA {

using namespace attention;

namespace {

/// dst = beta*dst + scale*value, n elements.
template <class T> void deliver(T* to, float beta, const float* value, int64_t n, float scale = 1) {
  int64_t i = 0;
  if (beta == 0.f) {
    for (; i + 2 * kLanes <= n; i += 2 * kLanes) storeTwo(to + i, load(value + i) * scale, load(value + i + kLanes) * scale);
    for (; i < n; i++) put(to + i, value[i] * scale);
  }
  for (; i + kLanes <= n; i += kLanes) store(to + i, load(to + i) + load(value + i) * scale);
  for (; i < n; i++) put(to + i, widen(to[i]) + value[i] * scale);
}

/// What a task keeps while it goes over one head of its segment. Rows and keys are counted from the segment's first.
template <class U> struct Room {
  using E = Element<U>;
  static constexpr bool kApart = kPairs<U>;  ///< panels and weights have memory of their own: floats are used where they lie
  E *q, *dout;               ///< [rows, even][ldd], [rows, even][ldv]
  U *qAcross, *doutAcross;   ///< their panels
  float *dq, *delta, *lse;   ///< [rows][ldd], [rows], [rows]; lse to the base 2
  float *dk, *dv;            ///< [keys][ldd], [keys][ldv]
  E *keys, *values;          ///< a tile
  U *keysT, *valuesT, *keysAcross;
  float *s, *dp;             ///< [kScored][kKeys]
  U *p, *ds;                 ///< [kQueries in units][kKeys]: weights along rows
  U* dsAlong;                ///< [kQueries][kKeys in units]: the same along keys
  int32_t *from, *to;        ///< [rows] visible keys
  int64_t ldd, ldv;

  static int64_t floats(const Sizes& n, int64_t rows, int64_t keys) {
    const int64_t ldd = padded(n.depth), ldv = padded(n.width), even = rows + rows % 2;
    return even * (2 * ldd + ldv + 4) + 16 + keys * (ldd + ldv) + kKeys * (2 * ldd + 2 * ldv + 2 * kScored<U>) + (kApart ? 2 * kQueries * kKeys : 0) + ldd + ldv;
  }
  Room(float* at, const Sizes& n, int64_t rows, int64_t keyCount) : ldd(padded(n.depth)), ldv(padded(n.width)) {
    const auto take = [&]<class V>(V*& to, int64_t count) { to = reinterpret_cast<V*>(at), at += divideUp(count * static_cast<int64_t>(sizeof(V)), 4); };
    const int64_t even = rows + rows % 2;
    take(keys, kKeys * ldd), take(values, kKeys * ldv), take(keysT, kKeys * ldd), take(valuesT, kKeys * ldv);
    take(s, kScored<U> * kKeys), take(dp, kScored<U> * kKeys);
    take(q, even * ldd), take(dout, even * ldv), take(dq, rows * ldd);
    take(dk, keyCount * ldd), take(dv, keyCount * ldv);
    if constexpr (kApart) {
      take(keysAcross, kKeys / 2 * ldd), take(qAcross, even / 2 * ldd), take(doutAcross, even / 2 * ldv);
      take(p, kQueries / 2 * kKeys), take(ds, kQueries / 2 * kKeys), take(dsAlong, kQueries * kKeys / 2);
    } else {
      keysAcross = keys, qAcross = q, doutAcross = dout, p = s, ds = dsAlong = dp;
    }
    take(delta, rows), take(lse, rows), take(from, rows), take(to, rows);
  }
};

template <class T> struct Backward {
  using U = Unit<T>;
  const Acc &dq, &dk, &dv, &dkShared;
  const In &dout, &q, &k, &v;
  const MaybeIn& kShared;
  const In &o, &lse;
  const int32_t* ranges;
  float scale;
  float* parts;  ///< [groups][keys][shared]: each key head's part of dk_shared
  Sizes n;

  void run(const Segment& segment, int64_t group, int worker) const {
    const int64_t keys = segment.end - segment.begin, heads = n.heads / n.groups;
    auto* memory = static_cast<float*>(parallel::scratch(worker, 0, Room<U>::floats(n, segment.rows, keys) * static_cast<int64_t>(sizeof(float))));
    const Room<U> room(memory, n, segment.rows, keys);
    memset(room.dk, 0, keys * room.ldd * sizeof(float));
    memset(room.dv, 0, keys * room.ldv * sizeof(float));
    for (int64_t head = group * heads; head < (group + 1) * heads; head++) {
      readRows(room, segment, head);
      const int64_t even = segment.rows + segment.rows % 2;
      const Panels<U> qs = acrossRows(room.qAcross, room.q, room.ldd, even, n.depth), douts = acrossRows(room.doutAcross, room.dout, room.ldv, even, n.width);
      for (int64_t key = 0; key < keys; key += kKeys) {
        const int64_t count = least(kKeys, keys - key);
        gatherKeys<T>(room.keys, room.ldd, n, k, kShared, group, segment.begin + key, count);
        gatherValues<T>(room.values, room.ldv, n, v, group, segment.begin + key, count);
        const KeyPanels tile = {transposeTile(room.keysT, room.keys, room.ldd, n.depth), transposeTile(room.valuesT, room.values, room.ldv, n.width),
                                acrossRows(room.keysAcross, room.keys, room.ldd, kKeys, n.depth)};
        for (int64_t row = 0; row < segment.rows; row += kQueries)
          meet(room, tile, below(qs, unitAt<U>(row)), below(douts, unitAt<U>(row)), row, static_cast<int>(least(kQueries, segment.rows - row)), key, static_cast<int>(count));
      }
      if (dq)
        for (int64_t i = 0; i < segment.rows; i++) deliver(at<T>(dq, segment.row + i, head), dq.beta, room.dq + i * room.ldd, n.depth, scale);
    }
    writeKeys(room, segment, group);
  }

  /// dk_shared: the sum over heads, in order.
  void addShared(int64_t s) const {
    float* total = parts + s * n.shared;
    for (int64_t g = 1; g < n.groups; g++)
      for (int64_t c = 0; c < n.shared; c++) total[c] += parts[(g * n.keys + s) * n.shared + c];
    deliver(dkShared.as<T>() + s * dkShared.stride[0], dkShared.beta, total, n.shared, scale);
  }

 private:
  struct KeyPanels {
    Panels<U> keysT, valuesT, keys;
  };

  void readRows(const Room<U>& room, const Segment& segment, int64_t head) const {
    const int64_t rows = segment.rows, even = rows + rows % 2;
    memset(room.dq, 0, rows * room.ldd * sizeof(float));
    gather(room.q, room.ldd, rows, n.depth, [&](int64_t i) { return at<const T>(q, segment.row + i, head); });
    gather(room.dout, room.ldv, rows, n.width, [&](int64_t i) { return at<const T>(dout, segment.row + i, head); });
    clearRest(room.q, room.ldd, rows, n.depth, even);
    clearRest(room.dout, room.ldv, rows, n.width, even);
    for (int64_t i = 0; i < rows; i++) {
      const int64_t r = segment.row + i;
      room.delta[i] = innerProduct(room.dout + i * room.ldv, at<const T>(o, r, head));
      room.lse[i] = lse.as<float>()[r * n.heads + head] * kLog2E;
      const int32_t* range = ranges + 2 * r;
      const bool some = range[0] < range[1];
      room.from[i] = some ? static_cast<int32_t>(range[0] - segment.begin) : 0;
      room.to[i] = some ? static_cast<int32_t>(range[1] - segment.begin) : 0;
    }
  }

  /// <do, o>
  float innerProduct(const Element<U>* dout, const T* o) const {
    vec total = {};
    int64_t c = 0;
    for (; c + kLanes <= n.width; c += kLanes) total = fma(load(dout + c), load(o + c), total);
    if (c < n.width) total = fma(load(dout + c), loadPart(o + c, static_cast<int>(n.width - c)), total);
    return sum(total);
  }

  /// A block of rows meets a tile of keys; qs and douts begin at the block.
  void meet(const Room<U>& room, const KeyPanels& tile, const Panels<U>& qs, const Panels<U>& douts, int64_t row, int rows, int64_t key, int keys) const {
    const Sight sight(room.from + row, room.to + row, rows, key);
    if (!sight.any) return;
    const int64_t ldq = unitsOf<U>(room.ldd), lddout = unitsOf<U>(room.ldv);
    for (int i = 0; i < rows; i += kScored<U>) {
      scores(sight, i, unitsOf<U>(n.depth), reinterpret_cast<const U*>(room.q) + (row + i) * ldq, ldq, tile.keysT, room.s);
      scores(sight, i, unitsOf<U>(n.width), reinterpret_cast<const U*>(room.dout) + (row + i) * lddout, lddout, tile.valuesT, room.dp);
      weigh(room, sight, row, i, rows - i < kScored<U> ? rows - i : kScored<U>);
    }
    Span seeing[kKeys / kTileRows + 1];
    for (int t = 0; t * kTileRows < keys; t++) seeing[t] = sight.seeing(t * kTileRows, (t + 1) * kTileRows);
    const auto ofKeys = [&](int t) { return seeing[t]; };
    if (dv) accumulate(keys, panelsOf(n.width), room.p, 1, kKeys, douts, room.dv + key * room.ldv, room.ldv, ofKeys);
    if (dk || dkShared) accumulate(keys, panelsOf(n.depth), room.ds, 1, kKeys, qs, room.dk + key * room.ldd, room.ldd, ofKeys);
    if (dq) accumulate(rows, panelsOf(n.depth), room.dsAlong, unitsOf<U>(kKeys), 1, tile.keys, room.dq + row * room.ldd, room.ldd, [&](int t) { return sight.tile[t]; });
  }

  /// p and ds / scale of `count` rows from `first` of the block on, whose first row is `row`; 0 where a row does not see the key.
  void weigh(const Room<U>& room, const Sight& sight, int64_t row, int first, int count) const {
    for (int i = 0; i < count; i += kPairs<U> ? 2 : 1) {
      const Span columns = sight.columns(first + i);
      const int64_t unit = unitAt<U>(first + i);
      const auto clear = [&](int begin, int end) {
        memset(room.p + unit * kKeys + begin, 0, (end - begin) * sizeof(U));
        memset(room.ds + unit * kKeys + begin, 0, (end - begin) * sizeof(U));
      };
      clear(0, columns.begin);
      clear(columns.end, kKeys);
      const bool two = i + 1 < count;
      const auto run = sight.whole(first + i) && (two || !kPairs<U>) ? &Backward::weighUnit<true> : &Backward::weighUnit<false>;
      (this->*run)(room, sight, row + first, first + i, i, two, columns);
    }
  }

  /// The same for one row, or two that make pairs: row `at` of the block, `i` of those scored.
  template <bool whole> void weighUnit(const Room<U>& room, const Sight& sight, int64_t first, int at, int i, bool two, Span columns) const {
    const auto weight = [&](int r, int c, vec& p, vec& ds) {
      if (!whole && r == 1 && !two) return static_cast<void>(p = ds = vec{});
      const int64_t row = first + i + r, s = (i + r) * kKeys + c;
      p = exp2(fma(load(room.s + s), splat(scale * kLog2E), splat(-room.lse[row])));
      ds = p * (load(room.dp + s) - room.delta[row]);
      if (!whole) p = where(sight.row(at + r), c, p, 0.f), ds = where(sight.row(at + r), c, ds, 0.f);
    };
    U *to = room.p + unitAt<U>(at) * kKeys, *slopes = room.ds + unitAt<U>(at) * kKeys;
    if constexpr (kPairs<U>) {
      auto *even = reinterpret_cast<bf16*>(room.dsAlong + at * (kKeys / 2)), *odd = even + kKeys;
      for (int c = columns.begin; c < columns.end; c += 2 * kLanes) {
        vec p[2][2], ds[2][2];
        for (int half = 0; half < 2; half++) {
          for (int r = 0; r < 2; r++) weight(r, c + half * kLanes, p[r][half], ds[r][half]);
          store(to + c + half * kLanes, p[0][half], p[1][half]);
          store(slopes + c + half * kLanes, ds[0][half], ds[1][half]);
        }
        storeTwo(even + c, ds[0][0], ds[0][1]);
        storeTwo(odd + c, ds[1][0], ds[1][1]);
      }
    } else {
      for (int c = columns.begin; c < columns.end; c += kLanes) {
        vec p, ds;
        weight(0, c, p, ds);
        store(to + c, p);
        store(slopes + c, ds);
      }
    }
  }

  void writeKeys(const Room<U>& room, const Segment& segment, int64_t group) const {
    auto* zeros = reinterpret_cast<float*>(room.keys);  // the tile is done with
    memset(zeros, 0, (room.ldd + room.ldv) * sizeof(float));
    for (int64_t s = segment.first; s < segment.last; s++) {
      const bool seen = s >= segment.begin && s < segment.end;
      const float* key = seen ? room.dk + (s - segment.begin) * room.ldd : zeros;
      const float* value = seen ? room.dv + (s - segment.begin) * room.ldv : zeros;
      if (dk) deliver(at<T>(dk, s, group), dk.beta, key, n.own, scale);
      if (dv) deliver(at<T>(dv, s, group), dv.beta, value, n.width);
      if (dkShared) memcpy(parts + (group * n.keys + s) * n.shared, key + n.own, n.shared * sizeof(float));
    }
  }
};

}  // namespace

void attention_backward(Acc dq, Acc dk, Acc dv, Acc dkShared, In dout, In q, In k, In v, MaybeIn kShared, In o, In lse, In ranges, float scale) {
  const Sizes n(q, k, v, kShared);
  if (dkShared && !kShared) throw Error("bad-argument", "attention_backward: dk_shared is given without k_shared.");
  const int64_t table = Segments::bytes(n.rows), parts = dkShared ? n.groups * n.keys * n.shared * static_cast<int64_t>(sizeof(float)) : 0;
  auto* memory = static_cast<char*>(parallel::shared(parts + table));
  const Segments segments = findSegments(ranges, n.keys, reinterpret_cast<Segment*>(memory + parts));
  dispatch(q.dtype, [&](auto t) {
    const Backward<decltype(t)> backward = {dq, dk, dv, dkShared, dout, q, k, v, kShared, o, lse, ranges.as<int32_t>(), scale, reinterpret_cast<float*>(memory), n};
    parallel::loop(segments.count * n.groups, [&](int64_t task, int worker) { backward.run(segments.list[task / n.groups], task % n.groups, worker); });
    if (!dkShared) return;
    constexpr int64_t kRows = 64;
    parallel::loop(divideUp(n.keys, kRows), [&](int64_t task, int) {
      for (int64_t s = task * kRows; s < least(n.keys, (task + 1) * kRows); s++) backward.addShared(s);
    });
  });
}

}  // namespace moe::MOE_ISA
