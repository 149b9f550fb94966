// How elementwise kernels walk over [R, C] views: tasks cut by shape alone, vectors with a partial one at the end.
#pragma once
#include <type_traits>

#include "cpu.h"

namespace moe::MOE_ISA {

/// Elements of one task: enough to hide the hand-over to a thread, few enough to share out a small tensor.
inline constexpr int64_t kSpan = 16384;

/// dispatch() on two dtypes at once.
template <class F> inline void dispatch(DType first, DType second, F&& f) {
  dispatch(first, [&](auto a) { dispatch(second, [&](auto b) { f(a, b); }); });
}

struct Grid {
  int64_t rows, cols;
};

/// [R, C] of the views, or one long row when all of them are dense.
template <class... V> inline Grid gridOf(const View& first, const V&... others) {
  if (first.contiguous() && (others.contiguous() && ...)) return {1, first.size()};
  return {first.shape[0], first.shape[1]};
}

/// Calls body(row, col, count) for pieces of at most kSpan elements of one row; a task takes one, or several short rows.
template <class F> inline void spans(Grid grid, F&& body) {
  const auto [rows, cols] = grid;
  if (rows <= 0 || cols <= 0) return;
  const int64_t together = cols < kSpan ? kSpan / cols : 1, pieces = divideUp(cols, kSpan);
  parallel::loop(divideUp(rows, together) * pieces, [&](int64_t task, int) {
    const int64_t first = task / pieces * together, col = task % pieces * kSpan;
    const int64_t end = first + together < rows ? first + together : rows;
    const int64_t count = cols - col < kSpan ? cols - col : kSpan;
    for (int64_t row = first; row < end; row++) body(row, col, count);
  });
}

/// Calls body(row, worker) for every row; a task takes as many rows as make up about kSpan elements.
template <class F> inline void eachRow(Grid grid, F&& body) {
  const auto [rows, cols] = grid;
  if (rows <= 0) return;
  const int64_t together = cols < kSpan ? kSpan / (cols > 0 ? cols : 1) : 1;
  parallel::loop(divideUp(rows, together), [&](int64_t task, int worker) {
    const int64_t end = (task + 1) * together < rows ? (task + 1) * together : rows;
    for (int64_t row = task * together; row < end; row++) body(row, worker);
  });
}

/// The first element of row `row`, column `col` of a view whose rows may lie apart.
template <class T, class V> inline auto* at(const V& view, int64_t row, int64_t col = 0) {
  return view.template as<T>() + row * view.stride[0] + col;
}

/// kTwo elements in the order that is quickest to widen: the halves of as many floats, or the even and the odd ones of bf16.
struct Two {
  vec a, b;
};
inline constexpr int kTwo = 2 * kLanes;

inline Two loadTwo(const float* p) { return {load(p), load(p + kLanes)}; }
inline Two loadTwo(const bf16* p) {
  pvec both;
  memcpy(&both, p, sizeof both);
  return {reinterpret_cast<vec>(both << 16), reinterpret_cast<vec>(both & 0xffff0000)};
}
inline void storeTwo(float* p, Two x) { storeTwo(p, x.a, x.b); }
inline void storeTwo(bf16* p, Two x) { store(reinterpret_cast<pair*>(p), x.a, x.b); }

template <class... X> inline constexpr bool kAllBf16 = (std::is_same_v<X, bf16> && ...);

/// y[i] = f(x[i]...) for n elements; y may be one of x.
template <class Y, class F, class... X> inline void map(Y* y, int64_t n, F&& f, const X*... x) {
  int64_t i = 0;
  if constexpr (kAllBf16<Y, X...>) {
    const auto two = [&](auto... v) { return Two{f(v.a...), f(v.b...)}; };
    for (; i + kTwo <= n; i += kTwo) storeTwo(y + i, two(loadTwo(x + i)...));
  }
  for (; i + kLanes <= n; i += kLanes) store(y + i, f(load(x + i)...));
  if (const int left = static_cast<int>(n - i)) storePart(y + i, f(loadPart(x + i, left)...), left);
}

/// y[i] = beta*y[i] + f(x[i]...); with beta 0 the old y is not read.
template <class Y, class F, class... X> inline void accumulate(float beta, Y* y, int64_t n, F&& f, const X*... x) {
  if (beta == 0) return map(y, n, f, x...);
  map(y, n, [&](vec old, auto... values) { return old + f(values...); }, static_cast<const Y*>(y), x...);
}

/// Sum of f(x[i]...) over n elements, in an order that n alone decides.
template <class F, class... X> inline float reduce(int64_t n, F&& f, const X*... x) {
  vec sums[4] = {};
  int64_t i = 0;
  if constexpr (kAllBf16<X...>) {
    const auto add = [&](vec& even, vec& odd, auto... v) {
      even += f(v.a...);
      odd += f(v.b...);
    };
    for (; i + 2 * kTwo <= n; i += 2 * kTwo) {
      add(sums[0], sums[1], loadTwo(x + i)...);
      add(sums[2], sums[3], loadTwo(x + i + kTwo)...);
    }
  }
  for (; i + 4 * kLanes <= n; i += 4 * kLanes)
    for (int v = 0; v < 4; v++) sums[v] += f(load(x + i + v * kLanes)...);
  for (; i + kLanes <= n; i += kLanes) sums[0] += f(load(x + i)...);
  if (const int left = static_cast<int>(n - i)) {
    float lane[kLanes] = {};  // f of the padding need not be 0
    storePart(lane, f(loadPart(x + i, left)...), left);
    sums[1] += load(lane);
  }
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

}  // namespace moe::MOE_ISA
