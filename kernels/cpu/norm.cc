// RMSNorm      rstd = 1 / sqrt(mean(x^2) + eps)            y = x rstd w
//   backward   g = w dy,  dx = rstd (g - x rstd^2 mean(g x)),            dw = sum over rows of dy x rstd
// LayerNorm    rstd = 1 / sqrt(mean((x - mean)^2) + eps)   n = (x - mean) rstd,  y = n w + b
//   backward   g = w dy,  dx = rstd (g - mean(g) - n mean(g n)),         dw = sum of dy n,  db = sum of dy
//
// How it runs: a row is read from memory once; its second and third pass find it in the first-level cache. Bound by memory.
// Sums over rows: the rows are cut into at most kBlocks blocks by shape alone, each block sums its own, then the blocks are
// added in their order.
#include "elementwise.h"

namespace moe::MOE_ISA {

namespace {

constexpr int64_t kBlocks = 64, kLeastRows = 8;

float rsqrt(float x) { return 1.f / __builtin_sqrtf(x); }

/// Runs body(row, sums) for all rows, where sums[width] belongs to the row's block, and then finish(block sums, blocks).
/// With width 0 there are no sums.
template <class Body, class Finish> void sumOverRows(int64_t rows, int64_t width, Body&& body, Finish&& finish) {
  const int64_t wanted = divideUp(rows, kLeastRows) < kBlocks ? divideUp(rows, kLeastRows) : kBlocks;
  const int64_t each = wanted > 0 ? divideUp(rows, wanted) : 1, blocks = divideUp(rows, each);
  auto* sums = static_cast<float*>(parallel::shared((blocks * width + 1) * static_cast<int64_t>(sizeof(float))));
  parallel::loop(blocks, [&](int64_t block, int) {
    float* own = sums + block * width;
    memset(own, 0, static_cast<size_t>(width) * sizeof(float));
    const int64_t end = (block + 1) * each < rows ? (block + 1) * each : rows;
    for (int64_t row = block * each; row < end; row++) body(row, own);
  });
  if (width > 0) finish(sums, blocks);
}

/// dst = beta*dst + the sum of column part `part` (of `parts`) of all blocks.
void addBlocks(const Acc& dst, const float* sums, int64_t blocks, int64_t cols, int part, int parts) {
  if (!dst) return;
  spans({1, cols}, [&](int64_t, int64_t col, int64_t count) {
    float* to = dst.as<float>() + col;
    const float* from = sums + part * cols + col;
    for (int64_t b = 0; b < blocks; b++)
      accumulate(b == 0 ? dst.beta : 1.f, to, count, [](vec x) { return x; }, from + b * parts * cols);
    if (blocks == 0 && dst.beta == 0) memset(to, 0, static_cast<size_t>(count) * sizeof(float));
  });
}

// ---- RMSNorm: elements in the order of Two, the weight's brought into it -------------------------------------------------

/// kTwo elements of a row of T, or `count` of them and zeros.
template <class T> Two take(const T* p, int64_t count) {
  if (count >= kTwo) return loadTwo(p);
  T part[kTwo] = {};
  memcpy(part, p, static_cast<size_t>(count) * sizeof(T));
  return loadTwo(part);
}
template <class T> void give(T* p, Two x, int64_t count) {
  if (count >= kTwo) return storeTwo(p, x);
  T part[kTwo];
  storeTwo(part, x);
  memcpy(p, part, static_cast<size_t>(count) * sizeof(T));
}

/// From the order of floats to that of T, and back.
template <class T> Two ordered(Two x) {
  if constexpr (std::is_same_v<T, float>) return x;
  ivec even, odd;
  for (int i = 0; i < kLanes; i++) even[i] = 2 * i, odd[i] = 2 * i + 1;
  return {__builtin_shuffle(x.a, x.b, even), __builtin_shuffle(x.a, x.b, odd)};
}
template <class T> Two unordered(Two x) {
  if constexpr (std::is_same_v<T, float>) return x;
  ivec low, high;
  for (int i = 0; i < kLanes; i++) low[i] = i / 2 + i % 2 * kLanes, high[i] = low[i] + kLanes / 2;
  return {__builtin_shuffle(x.a, x.b, low), __builtin_shuffle(x.a, x.b, high)};
}

template <class T, class W> Two takeWeight(const W* w, int64_t count) {
  if constexpr (std::is_same_v<T, W>) return take(w, count);
  if constexpr (std::is_same_v<W, float>) return ordered<T>(take(w, count));
  return unordered<W>(take(w, count));
}

/// Calls body(i, count) for pieces of kTwo elements of n, the last one perhaps shorter.
template <class F> void pieces(int64_t n, F&& body) {
  int64_t i = 0;
  for (; i + kTwo <= n; i += kTwo) body(i, kTwo);
  if (i < n) body(i, n - i);
}

/// kTwo elements that will be read soon.
template <class T> void askFor(const T* p) {
  for (int64_t i = 0; i < kTwo; i += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(p + i);
}

/// `next` is the row that will be read after this one: memory brings it in while this one is written.
template <class T, class W> void rmsForwardRow(T* y, const T* x, const T* next, const W* w, float r, int64_t cols) {
  pieces(cols, [&](int64_t i, int64_t count) {
    askFor(next + i);
    const Two v = take(x + i, count), gain = takeWeight<T>(w + i, count);
    give(y + i, {v.a * r * gain.a, v.b * r * gain.b}, count);
  });
}

/// <dy w, x> of a row.
template <class T, class W> float rmsInner(const T* dy, const T* x, const W* w, int64_t cols) {
  vec sums[4] = {};
  const auto add = [&](vec& a, vec& b, int64_t i, int64_t count) {
    const Two g = take(dy + i, count), v = take(x + i, count), gain = takeWeight<T>(w + i, count);
    a = fma(g.a * gain.a, v.a, a);
    b = fma(g.b * gain.b, v.b, b);
  };
  int64_t i = 0;
  for (; i + 2 * kTwo <= cols; i += 2 * kTwo) {
    add(sums[0], sums[1], i, kTwo);
    add(sums[2], sums[3], i + kTwo, kTwo);
  }
  for (; i < cols; i += kTwo) add(sums[0], sums[1], i, cols - i);
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/// A row's dx = beta dx + r (dy w - k x) and its part dy x r of dw, in T's order; either may be absent.
template <class T, class W>
void rmsBackwardRow(T* dx, float beta, float* dw, const T* dy, const T* x, const T* nextDy, const T* nextX, const W* w, float r, float k,
                    int64_t cols) {
  pieces(cols, [&](int64_t i, int64_t count) {
    askFor(nextDy + i);
    askFor(nextX + i);
    const Two g = take(dy + i, count), v = take(x + i, count);
    if (dx) {
      const Two gain = takeWeight<T>(w + i, count);
      Two d = {r * (g.a * gain.a - k * v.a), r * (g.b * gain.b - k * v.b)};
      if (beta != 0) {
        const Two old = take(dx + i, count);
        d = {old.a + d.a, old.b + d.b};
      }
      give(dx + i, d, count);
    }
    if (!dw) return;
    const Two sums = loadTwo(dw + i);
    storeTwo(dw + i, {fma(g.a * r, v.a, sums.a), fma(g.b * r, v.b, sums.b)});
  });
}

/// As addBlocks() for one part of `width` sums a block, which lie in the order of T.
template <class T> void addOrdered(const Acc& dst, const float* sums, int64_t blocks, int64_t cols, int64_t width) {
  constexpr int64_t kCols = 8 * kTwo;  // of a task
  parallel::loop(divideUp(cols, kCols), [&](int64_t task, int) {
    for (int64_t i = task * kCols; i < cols && i < (task + 1) * kCols; i += kTwo) {
      Two sum = {};
      for (int64_t b = 0; b < blocks; b++) {
        const Two own = loadTwo(sums + b * width + i);
        sum = {sum.a + own.a, sum.b + own.b};
      }
      sum = unordered<T>(sum);
      const int64_t count = cols - i < kTwo ? cols - i : kTwo;
      float* to = dst.as<float>() + i;
      if (dst.beta != 0) {
        const Two old = take(to, count);
        sum = {old.a + sum.a, old.b + sum.b};
      }
      give(to, sum, count);
    }
  });
}

}  // namespace

void rmsnorm_forward(Out y, Out rstd, In x, In weight, float eps) {
  const int64_t rows = x.shape[0], cols = x.shape[1];
  dispatch(x.dtype, weight.dtype, [&](auto t, auto u) {
    using T = decltype(t);
    using W = decltype(u);
    eachRow({rows, cols}, [&](int64_t row, int) {
      const T* from = at<T>(x, row);
      const float mean = reduce(cols, [](vec v) { return v * v; }, from) / static_cast<float>(cols);
      const float r = rsqrt(mean + eps);
      rstd.as<float>()[row] = r;
      rmsForwardRow(at<T>(y, row), from, at<T>(x, row + 1 < rows ? row + 1 : row), weight.as<W>(), r, cols);
    });
  });
}

void rmsnorm_backward(Acc dx, Acc dweight, In dy, In x, In weight, In rstd) {
  const int64_t rows = x.shape[0], cols = x.shape[1];
  const int64_t width = dweight ? divideUp(cols, kTwo) * kTwo : 0;
  dispatch(x.dtype, weight.dtype, [&](auto t, auto u) {
    using T = decltype(t);
    using W = decltype(u);
    const W* w = weight.as<W>();
    sumOverRows(
        rows, width,
        [&](int64_t row, float* dw) {
          const int64_t next = row + 1 < rows ? row + 1 : row;
          const T *from = at<T>(x, row), *d = at<T>(dy, row);
          const float r = rstd.as<float>()[row];
          const float k = dx ? r * r * rmsInner(d, from, w, cols) / static_cast<float>(cols) : 0.f;
          rmsBackwardRow(dx ? at<T>(dx, row) : nullptr, dx.beta, dweight ? dw : nullptr, d, from, at<T>(dy, next), at<T>(x, next), w, r, k, cols);
        },
        [&](const float* sums, int64_t blocks) { addOrdered<T>(dweight, sums, blocks, cols, width); });
  });
}

void layernorm_forward(Out y, Out mean, Out rstd, In x, In weight, MaybeIn bias, float eps) {
  const int64_t rows = x.shape[0], cols = x.shape[1];
  if (bias && bias.dtype != weight.dtype) throw Error("bad-argument", "layernorm_forward: weight and bias must have the same dtype.");
  dispatch(x.dtype, weight.dtype, [&](auto t, auto u) {
    using T = decltype(t);
    using W = decltype(u);
    const W* w = weight.as<W>();
    eachRow({rows, cols}, [&](int64_t row, int) {
      const T* from = at<T>(x, row);
      T* to = at<T>(y, row);
      const float m = reduce(cols, [](vec v) { return v; }, from) / static_cast<float>(cols);
      const float variance = reduce(cols, [m](vec v) { return (v - m) * (v - m); }, from) / static_cast<float>(cols);
      const float r = rsqrt(variance + eps);
      mean.as<float>()[row] = m;
      rstd.as<float>()[row] = r;
      if (bias) map(to, cols, [m, r](vec v, vec gain, vec b) { return (v - m) * r * gain + b; }, from, w, bias.as<W>());
      else map(to, cols, [m, r](vec v, vec gain) { return (v - m) * r * gain; }, from, w);
    });
  });
}

void layernorm_backward(Acc dx, Acc dweight, Acc dbias, In dy, In x, In weight, In mean, In rstd) {
  const int64_t rows = x.shape[0], cols = x.shape[1];
  const int parts = dweight || dbias ? 2 : 0;
  dispatch(x.dtype, weight.dtype, [&](auto t, auto u) {
    using T = decltype(t);
    using W = decltype(u);
    const W* w = weight.as<W>();
    sumOverRows(
        rows, parts * cols,
        [&](int64_t row, float* sums) {
          const T *from = at<T>(x, row), *d = at<T>(dy, row);
          const float m = mean.as<float>()[row], r = rstd.as<float>()[row];
          if (dx) {
            const float whole = static_cast<float>(cols);
            const float a = reduce(cols, [](vec g, vec gain) { return g * gain; }, d, w) / whole;
            const float b = reduce(cols, [m, r](vec g, vec v, vec gain) { return g * gain * ((v - m) * r); }, d, from, w) / whole;
            accumulate(dx.beta, at<T>(dx, row), cols,
                       [=](vec g, vec v, vec gain) { return r * (g * gain - a - (v - m) * r * b); }, d, from, w);
          }
          if (dweight) accumulate(1, sums, cols, [m, r](vec g, vec v) { return g * ((v - m) * r); }, d, from);
          if (dbias) accumulate(1, sums + cols, cols, [](vec g) { return g; }, d);
        },
        [&](const float* sums, int64_t blocks) {
          addBlocks(dweight, sums, blocks, cols, 0, parts);
          addBlocks(dbias, sums, blocks, cols, 1, parts);
        });
  });
}

}  // namespace moe::MOE_ISA
