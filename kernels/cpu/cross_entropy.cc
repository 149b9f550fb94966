// The loss over a vocabulary, on logits or straight from hidden states.
//
//   z = scale * logits        lse = log sum exp z        nll = lse - z[target]        entropy = lse - sum p z,  p = exp(z - lse)
//   dlogits = scale * ((dnll + dlse) p - dnll onehot(target))
//
// A target below 0 marks a row without a loss: nll is 0 and dnll does not count; lse and its gradient exist.
// linear_cross_entropy: logits = x W^T + b, never held all at once; dx = dlogits W, dW = dlogits^T x, db = column sums.
//
// How it runs: the fused ops take chunks of some hundred rows: logits of the chunk by one product (f32), statistics row by
// row, dlogits in place, two products more. The sums over rows continue from chunk to chunk (gemm/gemm.h), so the chunk's
// size shows in no bit. What bounds it: the three products, 6 R H V; on logits alone, reading them two or three times.
#include "cross_entropy.h"

#include "gemm/packed_weight.h"

namespace moe::MOE_ISA {

namespace {

using gemm::Product;

constexpr int64_t kTaskElements = 1 << 15;                        // logits that one task looks at, about
constexpr int64_t kPiece = 2048;                                  // logits summed before the sum is added to the total
constexpr float kLog2E = 1.44269504f;
constexpr int64_t kChunkBytes = 64 << 20;                         // logits held at once, unless the least chunk needs more
constexpr int64_t kLeastChunk = 256, kMostChunk = 1024;           // rows

// ---- one row of logits -------------------------------------------------------------------------------------------------

struct Statistics {
  float lse, entropy;
};

/// body(vector of z, count) over the row; the last vector may be part of one, its other lanes hold the lowest float.
template <class T, class F> inline void scan(const T* logits, int64_t size, float scale, F&& body) {
  int64_t j = 0;
  for (; j + kLanes <= size; j += kLanes) body(load(logits + j) * scale);
  if (j == size) return;
  vec z = splat(-__FLT_MAX__);
  for (int64_t i = 0; j + i < size; i++) z[i] = widen(logits[j + i]) * scale;
  body(z);
}

/// e^z for z <= 0, -inf too.
inline vec expOf(vec z) { return exp2(z * kLog2E); }
inline float expOf(float z) { return expOf(splat(z))[0]; }

/// Read once: a piece has its highest logit found and then, from the first-level cache, its sums, relative to that logit.
template <class T> Statistics statistics(const T* logits, int64_t size, float scale, bool wantEntropy) {
  float top = -__FLT_MAX__, total = 0, weighted = 0;  // sums over the pieces so far of e^(z - top), and of those times z - top
  for (int64_t first = 0; first < size; first += kPiece) {  // sums of sums: the error grows with neither's length alone
    const int64_t count = size - first < kPiece ? size - first : kPiece;
    const T* piece = logits + first;
    vec highest = splat(-__FLT_MAX__);
    scan(piece, count, scale, [&](vec z) { highest = vmax(z, highest); });
    const float high = maximum(highest);
    vec part = {}, weightedPart = {};
    if (wantEntropy)
      scan(piece, count, scale, [&](vec z) {
        const vec e = expOf(z - high);
        part += e;
        weightedPart += e > 0.f ? e * (z - high) : vec{};  // 0 * -inf of a masked logit is 0
      });
    else
      scan(piece, count, scale, [&](vec z) { part += expOf(z - high); });
    const float next = high > top ? high : top, before = expOf(top - next), now = expOf(high - next), sum = moe::MOE_ISA::sum(part);
    weighted = before * (weighted + (before > 0 ? top - next : 0) * total) + now * (moe::MOE_ISA::sum(weightedPart) + (now > 0 ? high - next : 0) * sum);
    total = before * total + now * sum;
    top = next;
  }
  const float above = logf(total);
  return {top + above, above - weighted / total};
}

/// dst[j] = beta*dst[j] + scale * (p[j]*(dnll + dlse) - dnll*onehot[j]); dst may be the logits themselves.
template <class D, class T> void gradient(D* dst, float beta, const T* logits, int64_t size, int32_t target, float scale, float lse, float dnll, float dlse) {
  const float weight = scale * (dnll + dlse);
  const auto part = [&](vec z) { return expOf(z * scale - lse) * weight; };
  const auto one = [&](int64_t j) {
    const float d = part(splat(widen(logits[j])))[0] - (target == j ? scale * dnll : 0);
    return beta != 0 ? d + widen(dst[j]) : d;
  };
  const float hit = target >= 0 ? one(target) : 0;
  int64_t j = 0;
  for (; j + 2 * kLanes <= size; j += 2 * kLanes) {
    vec d = part(load(logits + j)), next = part(load(logits + j + kLanes));
    if (beta != 0) d += load(dst + j), next += load(dst + j + kLanes);
    storeTwo(dst + j, d, next);
  }
  for (; j < size; j++) put(dst + j, one(j));
  if (target >= 0) put(dst + target, hit);
}

void checkTargets(const In& targets, int64_t vocabulary) {
  for (int64_t r = 0; r < targets.shape[0]; r++)
    if (targets.as<int32_t>()[r] >= vocabulary) throw Error("bad-argument", "cross_entropy: a target is not below the size of the vocabulary.");
}

/// body(row) for all rows, several to a task when they are short.
template <class F> void eachRow(int64_t rows, int64_t size, F&& body) {
  const int64_t each = size < kTaskElements ? kTaskElements / (size + 1) + 1 : 1;
  parallel::loop(divideUp(rows, each), [&](int64_t task, int) {
    for (int64_t r = task * each; r < rows && r < (task + 1) * each; r++) body(r);
  });
}

/// The losses of `rows` rows of logits, the first of which is row `first` of the results.
template <class T>
void losses(Out& nll, Out& lse, const MaybeOut& entropy, const T* logits, int64_t stride, int64_t rows, int64_t size, const In& targets,
            int64_t first, float scale) {
  eachRow(rows, size, [&](int64_t r) {
    const Statistics s = statistics(logits + r * stride, size, scale, static_cast<bool>(entropy));
    const int32_t target = targets.as<int32_t>()[first + r];
    lse.as<float>()[first + r] = s.lse;
    nll.as<float>()[first + r] = target < 0 ? 0.f : s.lse - widen(logits[r * stride + target]) * scale;
    if (entropy) entropy.as<float>()[first + r] = s.entropy;
  });
}

// ---- chunks of rows, logits computed on the way -------------------------------------------------------------------------

struct Head {
  const In& x;
  const In& weight;
  const MaybeIn& bias;
  int64_t rows() const { return x.shape[0]; }
  int64_t hidden() const { return x.shape[1]; }
  int64_t vocabulary() const { return weight.shape[0]; }
};

char* row(const View& v, int64_t r) { return static_cast<char*>(v.data) + r * v.stride[0] * bytes(v.dtype); }

/// Runs body(logits [rows, V], first row, rows) for each chunk of rows.
template <class F> void eachChunk(const Head& head, F&& body) {
  const int64_t vocabulary = head.vocabulary();
  int64_t most = kChunkBytes / (4 * vocabulary + 1);
  most = most < kLeastChunk ? kLeastChunk : most > kMostChunk ? kMostChunk : most;
  if (head.rows() == 0) return;
  const int64_t chunk = divideUp(head.rows(), divideUp(head.rows(), most));
  const gemm::PackedWeight packed({&head.weight, 1, vocabulary, head.hidden(), 0, head.weight.stride[0]}, head.x.dtype);
  const gemm::Workspace space(head.x, chunk * vocabulary * 4);
  for (int64_t first = 0; first < head.rows(); first += chunk) {
    const int64_t rows = head.rows() - first < chunk ? head.rows() - first : chunk;
    compute(Product{.a = {row(head.x, first), head.x.dtype, head.x.stride[0]},
                    .b = packed[0],
                    .c = {space.as<float>(), DType::f32, vocabulary, false, head.bias ? &head.bias : nullptr},
                    .m = rows, .n = vocabulary, .k = head.hidden()});
    body(space.as<float>(), first, rows);
  }
}

/// The gradients of a chunk's logits, in the memory of the logits: f32, or bf16 where those are faster multiplied (then the upper half of
/// every row is unused).
struct LogitGradients {
  void* data;
  DType dtype;
  int64_t stride;
};

/// What arrives at the losses of one row.
struct Upstream {
  float dnll, dlse;
};

/// Replaces the chunk's logits by their gradients; upstream(row of x, has a target) -> Upstream.
template <class F>
LogitGradients intoGradients(const Head& head, float* logits, int64_t first, int64_t rows, const In& targets, float scale, const float* lse,
                             F&& upstream) {
  const int64_t size = head.vocabulary();
  const bool pairs = gemm::usesPairs(head.x.dtype, head.weight.dtype);
  eachRow(rows, size, [&](int64_t r) {
    float* row = logits + r * size;
    const int32_t target = targets.as<int32_t>()[first + r];
    const Upstream up = upstream(first + r, target >= 0);
    if (pairs) gradient(reinterpret_cast<bf16*>(row), 0, row, size, target, scale, lse[first + r], up.dnll, up.dlse);
    else gradient(row, 0, row, size, target, scale, lse[first + r], up.dnll, up.dlse);
  });
  return {logits, pairs ? DType::bf16 : DType::f32, pairs ? 2 * size : size};
}

/// What flows on from them.
void backFromLogits(const Head& head, const Acc& dx, const Acc& dweight, const Acc& dbias, const LogitGradients& dlogits, int64_t first,
                    int64_t rows) {
  const int64_t vocabulary = head.vocabulary();
  const bool more = first > 0;  // sums over rows continue
  gemm::WayBack back = {.dy = {dlogits.data, dlogits.dtype, dlogits.stride},
                        .x = {row(head.x, first), head.x.dtype, head.x.stride[0]},
                        .weight = &head.weight,
                        .rows = rows};
  if (dx) back.dx = {row(dx, first), dx.dtype, dx.stride[0], dx.beta != 0};
  if (dweight) back.dweight = {dweight.data, dweight.dtype, dweight.stride[0], more || dweight.beta != 0};
  compute(back);
  if (!dbias) return;
  constexpr int64_t kCols = 1024;
  dispatch(dlogits.dtype, [&](auto t) {
    parallel::loop(divideUp(vocabulary, kCols), [&](int64_t task, int) {
      const int64_t begin = task * kCols, end = begin + kCols < vocabulary ? begin + kCols : vocabulary;
      float* to = dbias.as<float>();
      if (!more && dbias.beta == 0) memset(to + begin, 0, (end - begin) * 4);
      for (int64_t r = 0; r < rows; r++)
        for (int64_t v = begin; v < end; v++) to[v] += widen(static_cast<const decltype(t)*>(dlogits.data)[r * dlogits.stride + v]);
    });
  });
}

/// Without rows there is no chunk, but what was to be written must be.
void clearIfEmpty(const Head& head, const Acc& dweight, const Acc& dbias) {
  if (head.rows() > 0) return;
  if (dweight && dweight.beta == 0) memset(dweight.data, 0, dweight.size() * 4);
  if (dbias && dbias.beta == 0) memset(dbias.data, 0, dbias.size() * 4);
}

}  // namespace

float logSumExp(const float* logits, int64_t size, float scale) { return statistics(logits, size, scale, false).lse; }

void cross_entropy_forward(Out nll, Out lse, MaybeOut entropy, In logits, In targets, float scale) {
  const int64_t rows = logits.shape[0], size = logits.shape[1];
  checkTargets(targets, size);
  dispatch(logits.dtype, [&](auto t) {
    losses(nll, lse, entropy, logits.as<decltype(t)>(), logits.stride[0], rows, size, targets, 0, scale);
  });
}

void cross_entropy_backward(Acc dlogits, In dnll, MaybeIn dlse, In lse, In logits, In targets, float scale) {
  if (!dlogits) return;
  const int64_t rows = logits.shape[0], size = logits.shape[1];
  checkTargets(targets, size);
  dispatch(logits.dtype, [&](auto t) {
    dispatch(dlogits.dtype, [&](auto d) {
      eachRow(rows, size, [&](int64_t r) {
        const int32_t target = targets.as<int32_t>()[r];
        gradient(dlogits.as<decltype(d)>() + r * dlogits.stride[0], dlogits.beta, logits.as<decltype(t)>() + r * logits.stride[0], size,
                 target, scale, lse.as<float>()[r], target < 0 ? 0.f : dnll.as<float>()[r], dlse ? dlse.as<float>()[r] : 0.f);
      });
    });
  });
}

void linear_cross_entropy_forward(Out nll, Out lse, MaybeOut entropy, In x, In weight, MaybeIn bias, In targets, float scale) {
  const Head head = {x, weight, bias};
  checkTargets(targets, head.vocabulary());
  eachChunk(head, [&](float* logits, int64_t first, int64_t rows) {
    losses(nll, lse, entropy, logits, head.vocabulary(), rows, head.vocabulary(), targets, first, scale);
  });
}

void linear_cross_entropy_backward(Acc dx, Acc dweight, Acc dbias, In dnll, MaybeIn dlse, In lse, In x, In weight, MaybeIn bias,
                                   In targets, float scale) {
  const Head head = {x, weight, bias};
  checkTargets(targets, head.vocabulary());
  clearIfEmpty(head, dweight, dbias);
  eachChunk(head, [&](float* logits, int64_t first, int64_t rows) {
    const auto upstream = [&](int64_t r, bool counts) {
      return Upstream{counts ? dnll.as<float>()[r] : 0.f, dlse ? dlse.as<float>()[r] : 0.f};
    };
    backFromLogits(head, dx, dweight, dbias, intoGradients(head, logits, first, rows, targets, scale, lse.as<float>(), upstream), first, rows);
  });
}

/// One pass forward and back: the loss is sum of dnll * (nll + z lse^2), so dlse = 2 z lse dnll.
void linear_cross_entropy_train(Out nll, Out lse, Acc dx, Acc dweight, Acc dbias, In dnll, In x, In weight, MaybeIn bias, In targets,
                                float z) {
  const Head head = {x, weight, bias};
  checkTargets(targets, head.vocabulary());
  clearIfEmpty(head, dweight, dbias);
  eachChunk(head, [&](float* logits, int64_t first, int64_t rows) {
    losses(nll, lse, MaybeOut{}, logits, head.vocabulary(), rows, head.vocabulary(), targets, first, 1.f);
    const auto upstream = [&](int64_t r, bool counts) {
      const float factor = counts ? dnll.as<float>()[r] : 0.f;
      return Upstream{factor, 2 * z * lse.as<float>()[r] * factor};
    };
    backFromLogits(head, dx, dweight, dbias, intoGradients(head, logits, first, rows, targets, 1.f, lse.as<float>(), upstream), first, rows);
  });
}

}  // namespace moe::MOE_ISA
