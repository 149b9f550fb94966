// y = x W^T + b                                      x [R, K], W [N, K], b [N], y [R, N]
// dx = dy W      dW = dy^T x      db = sum over rows of dy
// swiglu: gate_up = x W^T, then y = silu(gate) * up
// heads: y[r, h] = W[h] x[r, h]  (or W[h]^T x[r, h])   one small matrix per head, the absorbed projections of latent attention
//        dx[r, h] = W[h]^T dy[r, h]      dW[h] = sum over rows of dy[r, h] x[r, h]^T
// experts: rows m in offsets[e] .. offsets[e+1] use W[e]; s(m) is rows[m] when given, else m; offsets[0] is 0
//          y[m] = W[e] x[s(m)]      dx[m] = W[e]^T dy[m]      dW[e] = sum over its rows of dy[m] x[s(m)]^T
//
// How it runs: the products of gemm/gemm.h. The offsets never leave the device: the grid holds as many tiles as any offsets can
// need, and surplus blocks end at once. db is bound by memory: slabs of rows, then their sums in order.
#include "gemm/gemm.h"
#include "slabs.cuh"

namespace moe::cuda {

using gemm::Groups;
using gemm::Product;
using gemm::Side;
using gemm::Target;

namespace {

Side side(const View& v, bool kFirst = false) { return {v.data, v.dtype, v.stride[0], kFirst}; }
Target added(const Acc& c) { return {c.data, c.dtype, c.stride[0], c.beta != 0}; }

/// Expert e's matrix of a [E, N, K] tensor.
Side matrices(const In& weight, bool kFirst) { return {weight.data, weight.dtype, weight.stride[1], kFirst, nullptr, weight.stride[0]}; }

/// All heads of a [R, H, C] tensor, a batch.
Side headsSide(const View& x, bool kFirst = false) { return {x.data, x.dtype, x.stride[0], kFirst, nullptr, x.stride[1]}; }
Target headsTarget(const View& y, bool add = false) { return {y.data, y.dtype, y.stride[0], add, nullptr, DType::f32, y.stride[1]}; }

Product forwardOf(const View& y, In x, In weight) { return {side(x), side(weight), Target{y.data, y.dtype, y.stride[0]}, x.shape[0], weight.shape[0], x.shape[1]}; }

Product expertsForward(const View& y, In x, In weight, In offsets, MaybeIn rows) {
  Side a = side(x);
  a.gather = static_cast<const int32_t*>(rows.data);
  return {a, matrices(weight, false), Target{y.data, y.dtype, y.stride[0]}, y.shape[0], weight.shape[1], weight.shape[2], weight.shape[0], Groups::rows, offsets.as<int32_t>()};
}

/// gate_up by the product, and y in its epilogue where the kernel has one.
void computeSwiglu(const Product& p, Out y, Out gateUp) {
  if (gemm::computeGated(p, y.data)) return;
  compute(p);
  swiglu_forward(y, In{gateUp});
}

}  // namespace

void linear_forward(Out y, In x, In weight, MaybeIn bias) {
  Product p = forwardOf(y, x, weight);
  p.c.bias = bias.data;
  p.c.biasDtype = bias.dtype;
  compute(p);
}

void linear_swiglu(Out y, Out gate_up, In x, In weight) { computeSwiglu(forwardOf(gate_up, x, weight), y, gate_up); }

void linear_backward(Acc dx, Acc dweight, Acc dbias, In dy, In x, In weight) {
  const int64_t rows = x.shape[0], inner = weight.shape[1], outer = weight.shape[0];
  if (dx) compute(Product{side(dy), side(weight, true), added(dx), rows, inner, outer});
  if (dweight) compute(Product{side(dy, true), side(x, true), added(dweight), outer, inner, rows});
  if (dbias) columnSums(dbias, dy);
}

void heads_linear(Out y, In x, In weight, bool transposed) {
  const int64_t rows = x.shape[0], heads = x.shape[1], depth = x.shape[2], cols = y.shape[2];
  if (weight.shape[1] != (transposed ? depth : cols) || weight.shape[2] != (transposed ? cols : depth))
    throw Error("bad-argument", "heads_linear: weight must be [heads, outputs, inputs], or [heads, inputs, outputs] when transposed.");
  compute(Product{headsSide(x), matrices(weight, transposed), headsTarget(y), rows, cols, depth, heads});
}

void heads_linear_backward(Acc dx, Acc dweight, In dy, In x, In weight) {
  const int64_t rows = x.shape[0], heads = x.shape[1], inner = x.shape[2], outer = dy.shape[2];
  if (dx) compute(Product{headsSide(dy), matrices(weight, true), headsTarget(dx, dx.beta != 0), rows, inner, outer, heads});
  if (!dweight) return;
  const Target c{dweight.data, dweight.dtype, dweight.stride[1], dweight.beta != 0, nullptr, DType::f32, dweight.stride[0]};
  compute(Product{headsSide(dy, true), headsSide(x, true), c, outer, inner, rows, heads});
}

void grouped_linear_forward(Out y, In x, In weight, In offsets, MaybeIn rows) { compute(expertsForward(y, x, weight, offsets, rows)); }

void grouped_linear_swiglu(Out y, Out gate_up, In x, In weight, In offsets, MaybeIn rows) {
  computeSwiglu(expertsForward(gate_up, x, weight, offsets, rows), y, gate_up);
}

void grouped_linear_backward(Acc dx, Acc dweight, In dy, In x, In weight, In offsets, MaybeIn rows) {
  const int64_t experts = weight.shape[0], outer = weight.shape[1], inner = weight.shape[2];
  if (dx) compute(Product{side(dy), matrices(weight, true), added(dx), dy.shape[0], inner, outer, experts, Groups::rows, offsets.as<int32_t>()});
  if (!dweight) return;
  Side b = side(x, true);
  b.gather = static_cast<const int32_t*>(rows.data);
  Target c{dweight.data, dweight.dtype, dweight.stride[1], dweight.beta != 0};
  c.batch = dweight.stride[0];
  compute(Product{side(dy, true), b, c, outer, inner, dy.shape[0], experts, Groups::depth, offsets.as<int32_t>()});
}

}  // namespace moe::cuda
