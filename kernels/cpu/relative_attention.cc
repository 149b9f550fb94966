// Attention whose scores also depend on how far a key is and whether it is of the row's kind. With j = s - ranges[r][0]:
//
//   score[r,h,s] = scale (<q[r,h], k[s,h]> + position[r,h, offsets[r]+j] + segment[r,h, types[r] != key_types[s]])
//   p = softmax of it over the keys of r's range with hidden[r,j] = 0      o[r,h] = sum_s p v[s,h]      lse = ln sum e^score
//   backward, with delta = <do, o>:  ds = scale p (<do, v[s]> - delta)     dq = sum_s ds k[s]    dk[s] = sum_r ds q    dv[s] = sum_r p do
//                                    dposition[r,h, offsets[r]+j] = ds     dsegment[r,h,t] = sum of ds over the keys of that kind
//
// How it runs: forward takes rows of one head by themselves, all scores of a row at once. Backward gives each head of a segment
// (attention_segments.h) to one task, which goes over its rows in order and keeps dk and dv in f32; so nothing is shared, and
// every sum is one chain whatever the number of threads. What bounds it: two products and three additions of a key's channels
// for each pair that is seen, of one row with one key: no tile of keys serves several rows.
#include <cstdio>

#include "attention_segments.h"
#include "elementwise.h"

namespace moe::MOE_ISA {

using attention::refuse;
using attention::Segment;
using attention::Segments;

namespace {

constexpr int64_t kChunk = 16;  // rows of a forward task

/// What forward and backward read.
struct Inputs {
  const In &q, &k, &v, &position;
  const MaybeIn& segment;
  const int32_t *ranges, *offsets;
  const MaybeIn& hidden;
  const int32_t *types, *keyTypes;
  float scale;
  int64_t heads, depth, width;

  int64_t begin(int64_t r) const { return ranges[2 * r]; }
  int64_t count(int64_t r) const { return ranges[2 * r + 1] > ranges[2 * r] ? ranges[2 * r + 1] - ranges[2 * r] : 0; }
  int64_t positionsOf(int64_t r, int64_t h) const { return (r * heads + h) * position.shape[2] + offsets[r]; }
  bool otherType(int64_t r, int64_t s) const { return types[r] != keyTypes[s]; }

  /// The scores of row r's keys, those of hidden ones -infinity.
  template <class T> void scores(float* to, int64_t r, int64_t h) const {
    const T* own = attention::at<const T>(q, r, h);
    const float* ofPosition = position.as<float>() + positionsOf(r, h);
    const float* ofType = segment ? segment.as<float>() + (r * heads + h) * 2 : nullptr;
    const uint8_t* unseen = hidden ? hidden.as<uint8_t>() + r * hidden.stride[0] : nullptr;
    for (int64_t j = 0, s = begin(r); j < count(r); j++, s++) {
      if (unseen && unseen[j]) {
        to[j] = -INFINITY;
        continue;
      }
      float sum = reduce(depth, [](vec a, vec b) { return a * b; }, own, attention::at<const T>(k, s, h)) + ofPosition[j];
      if (ofType) sum += ofType[otherType(r, s)];
      to[j] = scale * sum;
    }
  }
};

float highest(const float* x, int64_t n) {
  float most = -INFINITY;
  for (int64_t i = 0; i < n; i++) most = x[i] > most ? x[i] : most;
  return most;
}

/// to += factor * x
template <class T> void addTimes(float* to, float factor, const T* x, int64_t n) {
  accumulate(1, to, n, [factor](vec v) { return factor * v; }, x);
}

template <class T> void forwardRow(const Inputs& in, const Out& o, const Out& lse, int64_t r, int64_t h, float* room) {
  const int64_t count = in.count(r);
  float *sums = room, *p = room + in.width;
  memset(sums, 0, static_cast<size_t>(in.width) * sizeof(float));
  in.scores<T>(p, r, h);
  const float top = highest(p, count);
  float total = 0;
  if (top != -INFINITY) {
    map(p, count, [top](vec x) { return exp(x - top); }, static_cast<const float*>(p));
    total = reduce(count, [](vec x) { return x; }, static_cast<const float*>(p));
    for (int64_t j = 0; j < count; j++)
      if (p[j] != 0) addTimes(sums, p[j], attention::at<const T>(in.v, in.begin(r) + j, h), in.width);
  }
  const float part = total > 0 ? 1 / total : 0;
  map(attention::at<T>(o, r, h), in.width, [part](vec x) { return part * x; }, static_cast<const float*>(sums));
  lse.as<float>()[r * in.heads + h] = total > 0 ? top + std::log(total) : -INFINITY;
}

struct Gradients {
  const Acc &dq, &dk, &dv, &dposition, &dsegment;
  const In &dout, &o, &lse;
};

/// What a backward task keeps: of the row it is at, and of all keys that its segment owns.
struct Room {
  float *p, *ds, *dq, *dk, *dv;
  static int64_t floats(const Inputs& in, int64_t keys) { return 2 * keys + in.depth + keys * (in.depth + in.width); }
  Room(float* memory, const Inputs& in, int64_t keys) : p(memory), ds(p + keys), dq(ds + keys), dk(dq + in.depth), dv(dk + keys * in.depth) {}
};

/// p and ds of row r's keys.
template <class T> void weights(const Inputs& in, const Gradients& g, const Room& room, int64_t r, int64_t h) {
  const T* dout = attention::at<const T>(g.dout, r, h);
  const auto product = [](vec a, vec b) { return a * b; };
  const float delta = reduce(in.width, product, dout, attention::at<const T>(g.o, r, h)), lse = g.lse.as<float>()[r * in.heads + h];
  const int64_t count = in.count(r);
  in.scores<T>(room.p, r, h);
  map(room.p, count, [lse](vec x) { return exp(x - lse); }, static_cast<const float*>(room.p));
  for (int64_t j = 0; j < count; j++)
    room.ds[j] = room.p[j] == 0 ? 0 : room.p[j] * (reduce(in.width, product, dout, attention::at<const T>(in.v, in.begin(r) + j, h)) - delta) * in.scale;
}

/// What row r adds to the gradients of its position and segment scores. A row that sees nothing has no ds.
void scoreGradients(const Inputs& in, const Gradients& g, const float* ds, int64_t count, int64_t r, int64_t h) {
  if (g.dposition) {
    const int64_t places = in.position.shape[2];
    float* to = g.dposition.as<float>() + (r * in.heads + h) * places;
    if (g.dposition.beta == 0) memset(to, 0, static_cast<size_t>(places) * sizeof(float));
    accumulate(g.dposition.beta, to + in.offsets[r], count, [](vec x) { return x; }, ds);
  }
  if (!g.dsegment) return;
  float sums[2] = {};
  for (int64_t j = 0; j < count; j++) sums[in.otherType(r, in.begin(r) + j)] += ds[j];
  for (int t = 0; t < 2; t++) {
    float* to = g.dsegment.as<float>() + (r * in.heads + h) * 2 + t;
    *to = g.dsegment.beta != 0 ? *to + sums[t] : sums[t];
  }
}

/// dst = beta*dst + value
template <class T> void deliver(const Acc& dst, int64_t row, int64_t h, const float* value, int64_t n) {
  accumulate(dst.beta, attention::at<T>(dst, row, h), n, [](vec x) { return x; }, value);
}

/// One head of one segment.
template <class T> void backwardSegment(const Inputs& in, const Gradients& g, const Segment& segment, int64_t h, float* memory) {
  const int64_t keys = segment.last - segment.first;
  const Room room(memory, in, keys);
  memset(room.dk, 0, static_cast<size_t>(keys * (in.depth + in.width)) * sizeof(float));
  for (int64_t r = segment.row; r < segment.row + segment.rows; r++) {
    const bool seesNone = g.lse.as<float>()[r * in.heads + h] == -INFINITY;
    const int64_t count = seesNone ? 0 : in.count(r), first = in.begin(r) - segment.first;
    memset(room.dq, 0, static_cast<size_t>(in.depth) * sizeof(float));
    if (count > 0) weights<T>(in, g, room, r, h);
    for (int64_t j = 0; j < count; j++) {
      if (room.p[j] == 0) continue;
      addTimes(room.dq, room.ds[j], attention::at<const T>(in.k, in.begin(r) + j, h), in.depth);
      addTimes(room.dk + (first + j) * in.depth, room.ds[j], attention::at<const T>(in.q, r, h), in.depth);
      addTimes(room.dv + (first + j) * in.width, room.p[j], attention::at<const T>(g.dout, r, h), in.width);
    }
    if (g.dq) deliver<T>(g.dq, r, h, room.dq, in.depth);
    scoreGradients(in, g, room.ds, count, r, h);
  }
  for (int64_t s = 0; s < keys; s++) {
    if (g.dk) deliver<T>(g.dk, segment.first + s, h, room.dk + s * in.depth, in.depth);
    if (g.dv) deliver<T>(g.dv, segment.first + s, h, room.dv + s * in.width, in.width);
  }
}

Inputs inputsOf(const In& q, const In& k, const In& v, const In& position, const MaybeIn& segment, const In& ranges, const In& offsets, const MaybeIn& hidden,
                const MaybeIn& types, const MaybeIn& keyTypes, float scale) {
  if (segment && !(types && keyTypes)) refuse("relative_attention: segment needs types and key_types.");
  const Inputs in = {q, k, v, position, segment, ranges.as<int32_t>(), offsets.as<int32_t>(), hidden, types.as<int32_t>(), keyTypes.as<int32_t>(), scale,
                     q.shape[1], q.shape[2], v.shape[2]};
  for (int64_t r = 0; r < q.shape[0]; r++) {
    const int64_t count = in.count(r), offset = in.offsets[r];
    if (count > 0 && (offset < 0 || offset + count > position.shape[2]))
      refuse("relative_attention: row %lld asks for the positions %lld to %lld, but there are %lld.", r, offset, offset + count, position.shape[2]);
    if (hidden && count > hidden.shape[1])
      refuse("relative_attention: row %lld has %lld keys in its range, but hidden has %lld columns.", r, count, hidden.shape[1]);
  }
  return in;
}

int64_t mostOf(const Segments& segments) {
  int64_t most = 0;
  for (int64_t i = 0; i < segments.count; i++) most = attention::most(most, segments.list[i].last - segments.list[i].first);
  return most;
}

}  // namespace

void relative_attention_forward(Out o, Out lse, In q, In k, In v, In position, MaybeIn segment, In ranges, In offsets, MaybeIn hidden, MaybeIn types,
                                MaybeIn keyTypes, float scale) {
  const int64_t rows = q.shape[0], keys = k.shape[0];
  attention::findSegments(ranges, keys, static_cast<Segment*>(parallel::shared(Segments::bytes(rows))));  // only to check the ranges
  const Inputs in = inputsOf(q, k, v, position, segment, ranges, offsets, hidden, types, keyTypes, scale);
  dispatch(q.dtype, [&](auto t) {
    const int64_t chunks = divideUp(rows, kChunk);
    parallel::loop(chunks * in.heads, [&](int64_t task, int worker) {
      auto* room = static_cast<float*>(parallel::scratch(worker, 0, (in.width + keys) * static_cast<int64_t>(sizeof(float))));
      const int64_t first = task / in.heads * kChunk, end = first + kChunk < rows ? first + kChunk : rows;
      for (int64_t r = first; r < end; r++) forwardRow<decltype(t)>(in, o, lse, r, task % in.heads, room);
    });
  });
}

void relative_attention_backward(Acc dq, Acc dk, Acc dv, Acc dposition, Acc dsegment, In dout, In q, In k, In v, In position, MaybeIn segment, In o, In lse,
                                 In ranges, In offsets, MaybeIn hidden, MaybeIn types, MaybeIn keyTypes, float scale) {
  const Segments segments = attention::findSegments(ranges, k.shape[0], static_cast<Segment*>(parallel::shared(Segments::bytes(q.shape[0]))));
  const Inputs in = inputsOf(q, k, v, position, segment, ranges, offsets, hidden, types, keyTypes, scale);
  if (dsegment && !segment) refuse("relative_attention_backward: dsegment is given without segment.");
  const Gradients gradients = {dq, dk, dv, dposition, dsegment, dout, o, lse};
  const int64_t floats = Room::floats(in, mostOf(segments));
  dispatch(q.dtype, [&](auto t) {
    parallel::loop(segments.count * in.heads, [&](int64_t task, int worker) {
      auto* memory = static_cast<float*>(parallel::scratch(worker, 0, floats * static_cast<int64_t>(sizeof(float))));
      backwardSegment<decltype(t)>(in, gradients, segments.list[task / in.heads], task % in.heads, memory);
    });
  });
}

}  // namespace moe::MOE_ISA
