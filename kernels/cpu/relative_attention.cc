// Attention whose scores also depend on how far a key is and whether it is of the row's kind. With j = s - ranges[r][0]:
//
//   score[r,h,s] = scale (<q[r,h], k[s,h]> + position[r,h, offsets[r]+j] + segment[r,h, types[r] != key_types[s]])
//   p = softmax of it over the keys of r's range with hidden[r,j] = 0      o[r,h] = sum_s p v[s,h]      lse = ln sum e^score
//   backward, with delta = <do, o>:  ds = scale p (<do, v[s]> - delta)     dq = sum_s ds k[s]    dk[s] = sum_r ds q    dv[s] = sum_r p do
//                                    dposition[r,h, offsets[r]+j] = ds     dsegment[r,h,t] = sum of ds over the keys of that kind
//
// How it runs: tasks take rows of one head, at most kChunk at a time: the products are those of gemm/gemm.h, between the rows and the keys
// that some of them see; what lies between the products is one pass over the scores. Forward shares out the chunks; backward gives
// each head of a segment (attention_segments.h) to one task, which goes over its chunks in order and keeps dk and dv in f32: so
// nothing is shared, and every sum is one chain whatever the number of threads. What bounds it: the multiply-adds, 2 (D + C)
// operations forward and 6 D + 4 C backward for each row and key of a chunk, seen or not.
#include "attention_segments.h"
#include "elementwise.h"
#include "gemm/gemm.h"

namespace moe::MOE_ISA {

using attention::least;
using attention::most;
using attention::refuse;
using attention::Segment;
using attention::Segments;

namespace {

constexpr int64_t kChunk = 64;  // rows that a task takes at once
constexpr int kSlot = 3;        // of scratch: products use the others

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
  int64_t count(int64_t r) const { return most(ranges[2 * r + 1] - ranges[2 * r], 0); }
  bool otherType(int64_t r, int64_t s) const { return types[r] != keyTypes[s]; }
};

/// Rows of one segment, and the keys that some of them see.
struct Chunk {
  int64_t row, rows, begin, keys;

  Chunk(const Inputs& in, int64_t first, int64_t count) : row(first), rows(count), begin(INT64_MAX), keys(0) {
    int64_t end = 0;
    for (int64_t r = row; r < row + rows; r++) {
      if (in.count(r) == 0) continue;
      begin = least(begin, in.begin(r));
      end = most(end, in.begin(r) + in.count(r));
    }
    if (end == 0) begin = 0;
    else keys = end - begin;
  }
};

// ---- products of a chunk and a head; x [R, H, C] is a matrix [R, C] for each head ----

const void* headOf(const View& x, int64_t first, int64_t h) {
  return static_cast<const char*>(x.data) + (first * x.stride[0] + h * x.stride[1]) * bytes(x.dtype);
}
gemm::Left left(const View& x, int64_t first, int64_t h) { return {headOf(x, first, h), x.dtype, x.stride[0]}; }
gemm::Right right(const View& x, int64_t first, int64_t h, gemm::Form form = gemm::Form::rows) { return {headOf(x, first, h), x.dtype, x.stride[0], form}; }
gemm::Target target(const View& y, int64_t first, int64_t h, bool add = false) { return {const_cast<void*>(headOf(y, first, h)), y.dtype, y.stride[0], add}; }
gemm::Target floats(float* to, int64_t stride, bool add = false) { return {to, DType::f32, stride, add}; }

void multiply(const gemm::Left& a, const gemm::Right& b, const gemm::Target& c, int64_t m, int64_t n, int64_t k, int worker) {
  compute(gemm::Product{.a = a, .b = b, .c = c, .m = m, .n = n, .k = k}, gemm::Block{0, m, 0, n}, worker);
}

/// to[rows][keys] = <x[r], y[s]>
void meet(float* to, const View& x, const View& y, const Chunk& chunk, int64_t h, int64_t channels, int worker) {
  multiply(left(x, chunk.row, h), right(y, chunk.begin, h, gemm::Form::columns), floats(to, chunk.keys), chunk.rows, chunk.keys, channels, worker);
}

// ---- scores ----

/// Row r's scores from its products with its keys: -infinity for the hidden ones.
void finishScores(const Inputs& in, float* scores, int64_t r, int64_t h) {
  const int64_t count = in.count(r);
  const float* ofPosition = in.position.as<float>() + (r * in.heads + h) * in.position.shape[2] + in.offsets[r];
  const float scale = in.scale;
  if (in.segment) {
    const float* ofType = in.segment.as<float>() + (r * in.heads + h) * 2;
    const float same = ofType[0], other = ofType[1];
    const int32_t own = in.types[r], *kinds = in.keyTypes + in.begin(r);
    for (int64_t j = 0; j < count; j++) scores[j] += kinds[j] == own ? same : other;
  }
  map(scores, count, [scale](vec x, vec y) { return scale * (x + y); }, static_cast<const float*>(scores), ofPosition);
  if (!in.hidden) return;
  const uint8_t* unseen = in.hidden.as<uint8_t>() + r * in.hidden.stride[0];
  for (int64_t j = 0; j < count; j++)
    if (unseen[j]) scores[j] = -INFINITY;
}

/// Sets the keys of a chunk's row that are not in row r's range to 0. `row`: the chunk's keys.
void clearAround(const Inputs& in, const Chunk& chunk, float* row, int64_t r) {
  const int64_t count = in.count(r), first = count > 0 ? in.begin(r) - chunk.begin : 0;
  memset(row, 0, static_cast<size_t>(first) * sizeof(float));
  memset(row + first + count, 0, static_cast<size_t>(chunk.keys - first - count) * sizeof(float));
}

/// Row r's products become its probabilities; returns lse.
float softmax(const Inputs& in, float* p, int64_t r, int64_t h) {
  const int64_t count = in.count(r);
  finishScores(in, p, r, h);
  float top = -INFINITY;
  for (int64_t j = 0; j < count; j++) top = p[j] > top ? p[j] : top;
  if (top == -INFINITY) {  // sees nothing
    memset(p, 0, static_cast<size_t>(count) * sizeof(float));
    return top;
  }
  const float* scores = p;
  map(p, count, [top](vec x) { return exp(x - top); }, scores);
  const float total = reduce(count, [](vec x) { return x; }, scores), part = 1 / total;
  map(p, count, [part](vec x) { return part * x; }, scores);
  return top + std::log(total);
}

void forwardChunk(const Inputs& in, const Out& o, const Out& lse, const Chunk& chunk, int64_t h, int worker) {
  auto* p = static_cast<float*>(parallel::scratch(worker, kSlot, chunk.rows * chunk.keys * static_cast<int64_t>(sizeof(float))));
  meet(p, in.q, in.k, chunk, h, in.depth, worker);
  for (int64_t i = 0; i < chunk.rows; i++) {
    const int64_t r = chunk.row + i;
    float* own = p + i * chunk.keys;
    const bool any = in.count(r) > 0;
    lse.as<float>()[r * in.heads + h] = any ? softmax(in, own + in.begin(r) - chunk.begin, r, h) : -INFINITY;
    clearAround(in, chunk, own, r);
  }
  multiply({p, DType::f32, chunk.keys}, right(in.v, chunk.begin, h), target(o, chunk.row, h), chunk.rows, in.width, chunk.keys, worker);
}

// ---- backward ----

struct Gradients {
  const Acc &dq, &dk, &dv, &dposition, &dsegment;
  const In &dout, &o, &lse;
};

/// What a backward task keeps: p and ds of a chunk, dk and dv of all keys that its segment owns.
struct Room {
  float *p, *ds, *dk, *dv;
  static int64_t floats(const Inputs& in, int64_t keys) { return keys * (2 * kChunk + in.depth + in.width); }
  Room(float* memory, const Inputs& in, int64_t keys) : p(memory), ds(p + kChunk * keys), dk(ds + kChunk * keys), dv(dk + keys * in.depth) {}
};

/// Row r's products become p, and those of dout with v ds, in its range.
template <class T> void weights(const Inputs& in, const Gradients& g, float* p, float* ds, int64_t r, int64_t h) {
  const int64_t count = in.count(r);
  const float lse = g.lse.as<float>()[r * in.heads + h], scale = in.scale;
  if (lse == -INFINITY) {  // sees nothing: there may be a range all the same
    memset(p, 0, static_cast<size_t>(count) * sizeof(float));
    memset(ds, 0, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  const float delta = reduce(in.width, [](vec a, vec b) { return a * b; }, attention::at<const T>(g.dout, r, h), attention::at<const T>(g.o, r, h));
  finishScores(in, p, r, h);
  map(p, count, [lse](vec x) { return exp(x - lse); }, static_cast<const float*>(p));
  map(ds, count, [delta, scale](vec dp, vec own) { return own * (dp - delta) * scale; }, static_cast<const float*>(ds), static_cast<const float*>(p));
}

/// What row r adds to the gradients of its position and segment scores, from the ds of its range.
void scoreGradients(const Inputs& in, const Gradients& g, const float* ds, int64_t r, int64_t h) {
  const int64_t count = in.count(r);
  if (g.dposition) {
    const int64_t places = in.position.shape[2];
    float* to = g.dposition.as<float>() + (r * in.heads + h) * places;
    if (g.dposition.beta == 0) memset(to, 0, static_cast<size_t>(places) * sizeof(float));
    if (count > 0) accumulate(g.dposition.beta, to + in.offsets[r], count, [](vec x) { return x; }, ds);
  }
  if (!g.dsegment) return;
  float sums[2] = {};
  for (int64_t j = 0; j < count; j++) sums[in.otherType(r, in.begin(r) + j)] += ds[j];
  for (int t = 0; t < 2; t++) {
    float* to = g.dsegment.as<float>() + (r * in.heads + h) * 2 + t;
    *to = g.dsegment.beta != 0 ? *to + sums[t] : sums[t];
  }
}

/// One chunk of rows of one head, whose segment owns keys from `first` on.
template <class T> void backwardChunk(const Inputs& in, const Gradients& g, const Room& room, const Chunk& chunk, int64_t first, int64_t h, int worker) {
  meet(room.p, in.q, in.k, chunk, h, in.depth, worker);
  meet(room.ds, g.dout, in.v, chunk, h, in.width, worker);
  for (int64_t i = 0; i < chunk.rows; i++) {
    const int64_t r = chunk.row + i;
    float *p = room.p + i * chunk.keys, *ds = room.ds + i * chunk.keys;
    const int64_t at = in.count(r) > 0 ? in.begin(r) - chunk.begin : 0;
    weights<T>(in, g, p + at, ds + at, r, h);
    clearAround(in, chunk, p, r);
    clearAround(in, chunk, ds, r);
    scoreGradients(in, g, ds + at, r, h);
  }
  const gemm::Left ds = {room.ds, DType::f32, chunk.keys};
  if (g.dq) multiply(ds, right(in.k, chunk.begin, h), target(g.dq, chunk.row, h, g.dq.beta != 0), chunk.rows, in.depth, chunk.keys, worker);
  const int64_t key = chunk.begin - first;
  const auto toKeys = [&](const float* a, const View& x, float* to, int64_t channels) {
    multiply({a, DType::f32, chunk.keys, true}, right(x, chunk.row, h), floats(to + key * channels, channels, true), chunk.keys, channels, chunk.rows, worker);
  };
  if (chunk.keys == 0) return;
  if (g.dk) toKeys(room.ds, in.q, room.dk, in.depth);
  if (g.dv) toKeys(room.p, g.dout, room.dv, in.width);
}

/// One head of one segment.
template <class T> void backwardSegment(const Inputs& in, const Gradients& g, const Segment& segment, int64_t h, const Room& room, int worker) {
  const int64_t keys = segment.last - segment.first, end = segment.row + segment.rows;
  memset(room.dk, 0, static_cast<size_t>(keys * in.depth) * sizeof(float));
  memset(room.dv, 0, static_cast<size_t>(keys * in.width) * sizeof(float));
  for (int64_t row = segment.row; row < end; row += kChunk)
    backwardChunk<T>(in, g, room, Chunk(in, row, least(kChunk, end - row)), segment.first, h, worker);
  const auto deliver = [&](const Acc& dst, const float* value, int64_t channels) {
    for (int64_t s = 0; dst && s < keys; s++)
      accumulate(dst.beta, attention::at<T>(dst, segment.first + s, h), channels, [](vec x) { return x; }, value + s * channels);
  };
  deliver(g.dk, room.dk, in.depth);
  deliver(g.dv, room.dv, in.width);
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

/// Cuts every segment in chunks; `chunks` has room for one a row.
int64_t cutRows(const Inputs& in, const Segments& segments, Chunk* chunks) {
  int64_t count = 0;
  for (int64_t i = 0; i < segments.count; i++) {
    const Segment& segment = segments.list[i];
    for (int64_t row = 0; row < segment.rows; row += kChunk) chunks[count++] = Chunk(in, segment.row + row, least(kChunk, segment.rows - row));
  }
  return count;
}

}  // namespace

void relative_attention_forward(Out o, Out lse, In q, In k, In v, In position, MaybeIn segment, In ranges, In offsets, MaybeIn hidden, MaybeIn types,
                                MaybeIn keyTypes, float scale) {
  const int64_t rows = q.shape[0], table = Segments::bytes(rows);
  auto* memory = static_cast<char*>(parallel::shared(table + rows * static_cast<int64_t>(sizeof(Chunk))));
  auto* chunks = reinterpret_cast<Chunk*>(memory + table);
  const Segments segments = attention::findSegments(ranges, k.shape[0], reinterpret_cast<Segment*>(memory));
  const Inputs in = inputsOf(q, k, v, position, segment, ranges, offsets, hidden, types, keyTypes, scale);
  parallel::loop(cutRows(in, segments, chunks) * in.heads, [&](int64_t task, int worker) { forwardChunk(in, o, lse, chunks[task / in.heads], task % in.heads, worker); });
}

void relative_attention_backward(Acc dq, Acc dk, Acc dv, Acc dposition, Acc dsegment, In dout, In q, In k, In v, In position, MaybeIn segment, In o, In lse,
                                 In ranges, In offsets, MaybeIn hidden, MaybeIn types, MaybeIn keyTypes, float scale) {
  const Segments segments = attention::findSegments(ranges, k.shape[0], static_cast<Segment*>(parallel::shared(Segments::bytes(q.shape[0]))));
  const Inputs in = inputsOf(q, k, v, position, segment, ranges, offsets, hidden, types, keyTypes, scale);
  if (dsegment && !segment) refuse("relative_attention_backward: dsegment is given without segment.");
  const Gradients gradients = {dq, dk, dv, dposition, dsegment, dout, o, lse};
  int64_t keys = 0;
  for (int64_t i = 0; i < segments.count; i++) keys = most(keys, segments.list[i].last - segments.list[i].first);
  dispatch(q.dtype, [&](auto t) {
    parallel::loop(segments.count * in.heads, [&](int64_t task, int worker) {
      auto* memory = static_cast<float*>(parallel::scratch(worker, kSlot, Room::floats(in, keys) * static_cast<int64_t>(sizeof(float))));
      const Segment& of = segments.list[task / in.heads];
      backwardSegment<decltype(t)>(in, gradients, of, task % in.heads, Room(memory, in, of.last - of.first), worker);
    });
  });
}

}  // namespace moe::MOE_ISA
