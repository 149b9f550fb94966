// y = x W^T + b                                      x [R, K], W [N, K], b [N], y [R, N]
// dx = dy W      dW = dy^T x      db = sum over rows of dy
// swiglu: gate_up = x W^T, then y = silu(gate) * up
// heads: y[r, h] = W[h] x[r, h]  (or W[h]^T x[r, h])   one small matrix per head, the absorbed projections of latent attention
//        dx[r, h] = W[h]^T dy[r, h]      dW[h] = sum over rows of dy[r, h] x[r, h]^T
//
// How it runs and what bounds it: the products are those of gemm/gemm.h. db is one pass over dy, bound by memory.
#include <optional>

#include "gemm/gated.h"
#include "gemm/packed_weight.h"

namespace moe::MOE_ISA {

namespace {

using gemm::Left;
using gemm::Product;
using gemm::Right;
using gemm::Target;

std::optional<Target> added(const Acc& c) {
  if (!c) return {};
  return Target{c.data, c.dtype, c.stride[0], c.beta != 0};
}

/// dst[n] = beta*dst[n] + sum over rows of dy[r][n]: one chain per column, rows in order.
template <class T> void columnSums(const Acc& dst, const In& dy) {
  constexpr int kVecs = 4, kCols = kVecs * kLanes;
  const int64_t rows = dy.shape[0], cols = dy.shape[1];
  parallel::loop(divideUp(cols, kCols), [&](int64_t task, int) {
    const int64_t col = task * kCols;
    float* to = dst.as<float>() + col;
    const T* from = dy.as<T>() + col;
    if (cols - col >= kCols) {
      vec sums[kVecs];
      for (int v = 0; v < kVecs; v++) sums[v] = dst.beta != 0 ? load(to + v * kLanes) : vec{};
      for (int64_t r = 0; r < rows; r++)
        for (int v = 0; v < kVecs; v++) sums[v] += load(from + r * dy.stride[0] + v * kLanes);
      for (int v = 0; v < kVecs; v++) store(to + v * kLanes, sums[v]);
    } else {
      for (int64_t j = 0; j < cols - col; j++) {
        float sum = dst.beta != 0 ? to[j] : 0.f;
        for (int64_t r = 0; r < rows; r++) sum += widen(from[r * dy.stride[0] + j]);
        to[j] = sum;
      }
    }
  });
}

// ---- one product for each head of x [R, H, C] ----

char* atHead(const View& x, int64_t head) { return static_cast<char*>(x.data) + head * x.stride[1] * bytes(x.dtype); }
Left leftOf(const View& x, int64_t head) { return {atHead(x, head), x.dtype, x.stride[0]}; }
Target targetOf(const View& y, int64_t head) { return {atHead(y, head), y.dtype, y.stride[0]}; }
/// Matrix `head` of a stack [H, A, B], where it lies.
Right matrixOf(const View& w, int64_t head) { return {static_cast<char*>(w.data) + head * w.stride[0] * bytes(w.dtype), w.dtype, w.stride[1]}; }

/// Computes the products of all heads, which are of one size, as one list of blocks.
template <class F> void forHeads(int64_t heads, F&& productOf) {
  if (heads == 0) return;
  const Product first = productOf(0);
  const gemm::Cut cut = gemm::cut(first.m, first.n, first.k, heads, first.a.kFirst);
  const int64_t each = first.m > 0 && first.n > 0 ? cut.tasks(first.m, first.n) : 0;
  parallel::loop(heads * each, [&](int64_t task, int worker) { compute(productOf(task / each), cut.block(task % each, first.m, first.n), worker); });
}

}  // namespace

void linear_forward(Out y, In x, In weight, MaybeIn bias) {
  const int64_t rows = x.shape[0], depth = x.shape[1], cols = weight.shape[0];
  const gemm::PackedWeight packed({&weight, 1, cols, depth, 0, weight.stride[0]}, x.dtype, rows);
  compute(Product{.a = {x.data, x.dtype, x.stride[0]},
                  .b = packed[0],
                  .c = {y.data, y.dtype, y.stride[0], false, bias ? &bias : nullptr},
                  .m = rows, .n = cols, .k = depth});
}

void linear_swiglu(Out y, Out gate_up, In x, In weight) {
  const int64_t rows = x.shape[0], depth = x.shape[1], cols = weight.shape[0];
  const gemm::PackedWeight packed({&weight, 1, cols, depth, 0, weight.stride[0]}, x.dtype, rows);
  const Product product = {.a = {x.data, x.dtype, x.stride[0]},
                           .b = packed[0],
                           .c = {gate_up.data, gate_up.dtype, gate_up.stride[0]},
                           .m = rows, .n = cols, .k = depth};
  compute(gemm::Gated{product, y.data});
}

void linear_backward(Acc dx, Acc dweight, Acc dbias, In dy, In x, In weight) {
  compute(gemm::WayBack{.dy = {dy.data, dy.dtype, dy.stride[0]},
                        .x = {x.data, x.dtype, x.stride[0]},
                        .weight = &weight,
                        .dx = added(dx),
                        .dweight = added(dweight),
                        .rows = x.shape[0]});
  if (dbias) dispatch(dy.dtype, [&](auto t) { columnSums<decltype(t)>(dbias, dy); });
}

void heads_linear(Out y, In x, In weight, bool transposed) {
  const int64_t rows = x.shape[0], heads = x.shape[1], depth = x.shape[2], cols = y.shape[2];
  if (weight.shape[1] != (transposed ? depth : cols) || weight.shape[2] != (transposed ? cols : depth))
    throw Error("bad-argument", "heads_linear: weight must be [heads, outputs, inputs], or [heads, inputs, outputs] when transposed.");
  const auto all = [&](const auto& right) {
    forHeads(heads, [&](int64_t head) { return Product{.a = leftOf(x, head), .b = right(head), .c = targetOf(y, head), .m = rows, .n = cols, .k = depth}; });
  };
  if (transposed) {
    all([&](int64_t head) { return matrixOf(weight, head); });
  } else {
    const gemm::PackedWeight packed({&weight, heads, cols, depth, weight.stride[0], weight.stride[1]}, x.dtype, rows);
    all([&](int64_t head) { return packed[head]; });
  }
}

void heads_linear_backward(Acc dx, Acc dweight, In dy, In x, In weight) {
  const int64_t rows = x.shape[0], heads = x.shape[1], inner = x.shape[2], outer = dy.shape[2];
  if (dx)
    forHeads(heads, [&](int64_t head) {
      Target c = targetOf(dx, head);
      c.add = dx.beta != 0;
      return Product{.a = leftOf(dy, head), .b = matrixOf(weight, head), .c = c, .m = rows, .n = inner, .k = outer};
    });
  if (dweight)
    forHeads(heads, [&](int64_t head) {
      Left a = leftOf(dy, head);
      a.kFirst = true;
      char* to = static_cast<char*>(dweight.data) + head * dweight.stride[0] * bytes(dweight.dtype);
      return Product{.a = a,
                     .b = {atHead(x, head), x.dtype, x.stride[0]},
                     .c = {to, dweight.dtype, dweight.stride[1], dweight.beta != 0},
                     .m = outer, .n = inner, .k = rows};
    });
}

}  // namespace moe::MOE_ISA
