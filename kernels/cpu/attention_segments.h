// Which rows can be worked on apart: a batch stacks sequences, and `ranges` tells them apart.
//
// A segment is a run of rows whose keys no row outside it sees; a packed document, a padded sequence, or all rows when
// they see each other's keys. It also owns the unseen keys before its own, so that every gradient is written by somebody.
#pragma once
#include <cstdio>

#include "attention_tile.h"

namespace moe::MOE_ISA::attention {

/// Throws Error("bad-argument") with a printf-like sentence. (std::to_string would be compiled once per instruction set.)
template <class... A> [[noreturn]] void refuse(const char* format, A... a) {
  char sentence[256];
  snprintf(sentence, sizeof sentence, format, static_cast<long long>(a)...);
  throw Error("bad-argument", sentence);
}

struct Segment {
  int64_t row, rows;     ///< of q
  int64_t begin, end;    ///< keys that are seen; tiles are counted from `begin`
  int64_t first, last;   ///< keys that are owned
};

struct Segments {
  Segment* list;
  int64_t count;

  static int64_t bytes(int64_t rows) { return (rows + 1) * static_cast<int64_t>(sizeof(Segment)); }
};

/// Reads the ranges into `list`, which has room for a segment per row and one more.
/// @throws Error("bad-argument") when a range leaves 0 .. keys
inline Segments findSegments(const In& ranges, int64_t keys, Segment* list) {
  const int32_t* range = ranges.as<int32_t>();
  int64_t count = 0;
  list[count++] = {0, 0, 0, 0, 0, 0};
  for (int64_t r = 0; r < ranges.shape[0]; r++) {
    const int64_t begin = range[2 * r], end = range[2 * r + 1];
    if (begin < end && (begin < 0 || end > keys))
      refuse("attention: ranges[%lld] is %lld to %lld, but there are %lld keys.", r, begin, end, keys);
    Segment* last = &list[count - 1];
    if (begin >= end) {
      last->rows++;
    } else if (last->begin == last->end) {  // only rows that see nothing so far
      last->rows++;
      last->begin = begin;
      last->end = end;
    } else if (begin >= last->end) {
      list[count++] = {r, 1, begin, end, 0, 0};
    } else {
      last->rows++;
      last->begin = least(last->begin, begin);
      last->end = most(last->end, end);
      for (; count > 1 && list[count - 1].begin < list[count - 2].end; count--) {  // it reaches back into the one before
        Segment& one = list[count - 2];
        const Segment& two = list[count - 1];
        one = {one.row, one.rows + two.rows, least(one.begin, two.begin), most(one.end, two.end), 0, 0};
      }
    }
  }
  for (int64_t i = 0; i < count; i++) {
    list[i].first = i ? list[i - 1].last : 0;
    list[i].last = i + 1 < count ? list[i].end : keys;
  }
  return {list, count};
}

/// Heads and channels of one call, checked.
struct Sizes {
  int64_t rows, heads, keys, groups, depth, own, shared, width;  ///< own + shared = depth: channels of k and k_shared

  Sizes(const View& q, const View& k, const View& v, const View& kShared)
      : rows(q.shape[0]), heads(q.shape[1]), keys(k.shape[0]), groups(k.shape[1]), depth(q.shape[2]), own(k.shape[2]),
        shared(kShared ? kShared.shape[1] : 0), width(v.shape[2]) {
    if (groups == 0 || heads % groups != 0) refuse("attention: q has %lld heads; a multiple of k's %lld is expected.", heads, groups);
    if (own + shared != depth) refuse("attention: q has %lld channels, but k and k_shared have %lld + %lld.", depth, own, shared);
  }
  int64_t keyHead(int64_t head) const { return head / (heads / groups); }
};

/// Address of row r, head h of x [R,H,C].
template <class T> inline T* at(const View& x, int64_t r, int64_t h) {
  return static_cast<T*>(x.data) + r * x.stride[0] + h * x.stride[1];
}

/// Keys first .. first + count of a key head, k's channels then the shared ones: to[kKeys][ld], zero elsewhere.
template <class T, class E> inline void gatherKeys(E* to, int64_t ld, const Sizes& n, const In& k, const MaybeIn& kShared, int64_t group, int64_t first, int64_t count) {
  gather(to, ld, count, n.own, [&](int64_t j) { return at<const T>(k, first + j, group); });
  if (n.shared) gather(to + n.own, ld, count, n.shared, [&](int64_t j) { return kShared.as<const T>() + (first + j) * kShared.stride[0]; });
  clearRest(to, ld, count, n.depth);
}

template <class T, class E> inline void gatherValues(E* to, int64_t ld, const Sizes& n, const In& v, int64_t group, int64_t first, int64_t count) {
  gather(to, ld, count, n.width, [&](int64_t j) { return at<const T>(v, first + j, group); });
  clearRest(to, ld, count, n.width);
}

}  // namespace moe::MOE_ISA::attention
