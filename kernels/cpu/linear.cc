// y = x W^T + b                                      x [R, K], W [N, K], b [N], y [R, N]
// dx = dy W      dW = dy^T x      db = sum over rows of dy
// swiglu: gate_up = x W^T, then y = silu(gate) * up
// heads: y[r, h] = W[h] x[r, h]  (or W[h]^T x[r, h])   one small matrix per head, the absorbed projections of latent attention
//
// How it runs and what bounds it: the products are those of gemm/gemm.h. db is one pass over dy, bound by memory.
#include <optional>

#include "gemm/gated.h"
#include "gemm/packed_weight.h"

namespace moe::MOE_ISA {

namespace {

using gemm::Block;
using gemm::Product;
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
  const auto at = [](const View& v, int64_t head) { return static_cast<char*>(v.data) + head * v.stride[1] * bytes(v.dtype); };
  const auto all = [&](const auto& right) {
    const gemm::Cut cut = gemm::cut(rows, cols, depth, heads);
    const int64_t each = rows > 0 && cols > 0 ? cut.tasks(rows, cols) : 0;
    parallel::loop(heads * each, [&](int64_t task, int worker) {
      const int64_t head = task / each;
      const Product product = {.a = {at(x, head), x.dtype, x.stride[0]},
                               .b = right(head),
                               .c = {at(y, head), y.dtype, y.stride[0]},
                               .m = rows, .n = cols, .k = depth};
      compute(product, cut.block(task % each, rows, cols), worker);
    });
  };
  if (transposed) {
    all([&](int64_t head) {
      return gemm::Right{static_cast<char*>(weight.data) + head * weight.stride[0] * bytes(weight.dtype), weight.dtype, weight.stride[1]};
    });
  } else {
    const gemm::PackedWeight packed({&weight, heads, cols, depth, weight.stride[0], weight.stride[1]}, x.dtype, rows);
    all([&](int64_t head) { return packed[head]; });
  }
}

}  // namespace moe::MOE_ISA
