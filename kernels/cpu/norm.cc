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
      map(at<T>(y, row), cols, [r](vec v, vec w) { return v * r * w; }, from, weight.as<W>());
    });
  });
}

void rmsnorm_backward(Acc dx, Acc dweight, In dy, In x, In weight, In rstd) {
  const int64_t rows = x.shape[0], cols = x.shape[1];
  const int parts = dweight ? 1 : 0;
  dispatch(x.dtype, weight.dtype, [&](auto t, auto u) {
    using T = decltype(t);
    using W = decltype(u);
    const W* w = weight.as<W>();
    sumOverRows(
        rows, parts * cols,
        [&](int64_t row, float* dw) {
          const T *from = at<T>(x, row), *d = at<T>(dy, row);
          const float r = rstd.as<float>()[row];
          if (dx) {
            const float inner = reduce(cols, [](vec g, vec v, vec gain) { return g * gain * v; }, d, from, w);
            const float k = r * r * inner / static_cast<float>(cols);
            accumulate(dx.beta, at<T>(dx, row), cols, [r, k](vec g, vec v, vec gain) { return r * (g * gain - k * v); }, d, from, w);
          }
          if (dweight) accumulate(1, dw, cols, [r](vec g, vec v) { return g * v * r; }, d, from);
        },
        [&](const float* sums, int64_t blocks) { addBlocks(dweight, sums, blocks, cols, 0, parts); });
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
