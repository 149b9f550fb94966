// Proves the packing and indexing of products of bf16 pairs on any machine: the same kernels, built into the namespace `twin`
// with their instructions in plain C++ (the tiles of gemm/amx_tiles.h with MOE_AMX_TWIN, fma() of pairs in vec.h with
// MOE_PAIRS_TWIN), against plain loops. Run by pairs.test.ts.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../../kernels/cpu/gemm/gemm.h"
#include "../../native/memory.h"

using namespace moe;
using twin::bf16;

namespace {

const Backend kMemory = {kAbi, "twin", [](size_t bytes) { return std::aligned_alloc(64, (bytes + 63) / 64 * 64); },
                         [](void* data, size_t) { std::free(data); }};
Allocator allocator(&kMemory);
int failures = 0;

float draw() {
  static uint32_t state = 1;
  state = state * 1664525u + 1013904223u;
  return static_cast<float>(static_cast<int32_t>(state)) / 2147483648.f;
}

/// A matrix whose rows lie `gap` elements further apart than they must, filled with draws, or with NaN to be overwritten.
template <class V> V matrix(DType dtype, std::vector<int64_t> shape, bool filled, int64_t gap = 0, bool weight = false) {
  V v;
  v.dtype = dtype;
  v.rank = static_cast<int>(shape.size());
  int64_t size = 1;
  for (int i = v.rank - 1; i >= 0; i--) {
    v.shape[i] = shape[i];
    v.stride[i] = size;
    size *= shape[i];
    if (i == v.rank - 1) size += gap;
  }
  v.buffer = allocator.create(size * bytes(dtype), 0);
  v.buffer->weight = weight;
  v.data = v.buffer->data;
  for (int64_t i = 0; i < size; i++) {
    const float value = filled ? draw() : NAN;
    if (dtype == DType::f32) static_cast<float*>(v.data)[i] = value;
    else static_cast<bf16*>(v.data)[i] = twin::narrow(value);
  }
  return v;
}

In ints(const std::vector<int32_t>& values) {
  In v;
  v.dtype = DType::i32;
  v.rank = 1;
  v.shape[0] = static_cast<int64_t>(values.size());
  v.stride[0] = 1;
  v.buffer = allocator.create(values.size() * 4, 0);
  v.data = v.buffer->data;
  memcpy(v.data, values.data(), values.size() * 4);
  return v;
}

template <class To, class From> To as(const From& from) {
  To to;
  static_cast<View&>(to) = from;
  return to;
}

double at(const View& v, int64_t i, int64_t j) {
  const int64_t index = i * v.stride[v.rank - 2] + j;
  return v.dtype == DType::f32 ? static_cast<float*>(v.data)[index] : twin::widen(static_cast<bf16*>(v.data)[index]);
}

void expectNear(const char* what, double actual, double expected, DType dtype) {
  const double tolerance = dtype == DType::f32 ? 2e-4 : 2e-2;
  if (std::abs(actual - expected) <= tolerance * (1 + std::abs(expected))) return;
  if (failures++ < 10) printf("%s: %g, expected %g\n", what, actual, expected);
}

Acc accumulator(DType dtype, std::vector<int64_t> shape, float beta, int64_t gap = 0) {
  Acc acc = matrix<Acc>(dtype, std::move(shape), beta != 0, gap);
  acc.beta = beta;
  return acc;
}

void linear(int64_t rows, int64_t cols, int64_t depth, DType result, float beta) {
  const In x = matrix<In>(DType::bf16, {rows, depth}, true, 6), weight = matrix<In>(DType::bf16, {cols, depth}, true, 0, true);
  const In bias = matrix<In>(DType::f32, {1, cols}, true), dy = matrix<In>(DType::bf16, {rows, cols}, true, 2);
  const Out y = matrix<Out>(result, {rows, cols}, false, 4);
  twin::linear_forward(y, x, weight, as<MaybeIn>(bias));
  for (int64_t r = 0; r < rows; r++)
    for (int64_t n = 0; n < cols; n++) {
      double sum = at(bias, 0, n);
      for (int64_t k = 0; k < depth; k++) sum += at(x, r, k) * at(weight, n, k);
      expectNear("linear y", at(y, r, n), sum, result);
    }
  In last = x;  // the last row alone has the same bits
  last.shape[0] = 1;
  last.data = static_cast<bf16*>(x.data) + (rows - 1) * x.stride[0];
  const Out alone = matrix<Out>(result, {1, cols}, false);
  twin::linear_forward(alone, last, weight, as<MaybeIn>(bias));
  for (int64_t n = 0; n < cols; n++)
    if (at(alone, 0, n) != at(y, rows - 1, n) && failures++ < 10) printf("linear: a row alone differs in column %d\n", static_cast<int>(n));

  const Acc dx = accumulator(result, {rows, depth}, beta, 3), dw = accumulator(DType::f32, {cols, depth}, beta);
  std::vector<double> dx0(rows * depth), dw0(cols * depth);
  for (int64_t i = 0; i < rows * depth; i++) dx0[i] = beta != 0 ? at(dx, i / depth, i % depth) : 0;
  for (int64_t i = 0; i < cols * depth; i++) dw0[i] = beta != 0 ? at(dw, i / depth, i % depth) : 0;
  twin::linear_backward(dx, dw, {}, dy, x, weight);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t n = 0; n < cols; n++)
      for (int64_t k = 0; k < depth; k++) {
        dx0[r * depth + k] += at(dy, r, n) * at(weight, n, k);
        dw0[n * depth + k] += at(dy, r, n) * at(x, r, k);
      }
  for (int64_t i = 0; i < rows * depth; i++) expectNear("linear dx", at(dx, i / depth, i % depth), dx0[i], result);
  for (int64_t i = 0; i < cols * depth; i++) expectNear("linear dw", at(dw, i / depth, i % depth), dw0[i], DType::f32);
}

void grouped() {
  constexpr int64_t kTokens = 21, kDepth = 45, kCols = 50, kExperts = 3;
  const std::vector<int32_t> offsets = {0, 34, 34, 39}, rows = [] {
    std::vector<int32_t> list(41);
    for (size_t m = 0; m < list.size(); m++) list[m] = static_cast<int32_t>(m * 8 % kTokens);
    return list;
  }();
  const int64_t total = static_cast<int64_t>(rows.size());
  const In x = matrix<In>(DType::bf16, {kTokens, kDepth}, true), weight = matrix<In>(DType::bf16, {kExperts, kCols, kDepth}, true, 0, true);
  const In dy = matrix<In>(DType::bf16, {total, kCols}, true);
  const Out y = matrix<Out>(DType::f32, {total, kCols}, false);
  const Acc dw = accumulator(DType::f32, {kExperts, kCols, kDepth}, 0);
  twin::grouped_linear_forward(y, x, weight, ints(offsets), as<MaybeIn>(ints(rows)));
  const Acc dx = accumulator(DType::bf16, {total, kDepth}, 0);
  twin::grouped_linear_backward(dx, dw, dy, x, weight, ints(offsets), as<MaybeIn>(ints(rows)));
  for (int64_t e = 0; e < kExperts; e++)
    for (int64_t n = 0; n < kCols; n++) {
      std::vector<double> sums(kDepth);
      for (int64_t m = offsets[e]; m < offsets[e + 1]; m++) {
        double sum = 0;
        for (int64_t k = 0; k < kDepth; k++) {
          sum += at(x, rows[m], k) * at(weight, e * kCols + n, k);
          sums[k] += at(dy, m, n) * at(x, rows[m], k);
        }
        expectNear("grouped y", at(y, m, n), sum, DType::f32);
      }
      for (int64_t k = 0; k < kDepth; k++) expectNear("grouped dw", at(dw, e * kCols + n, k), sums[k], DType::f32);
    }
  for (int64_t e = 0; e < kExperts; e++)
    for (int64_t m = offsets[e]; m < offsets[e + 1]; m++)
      for (int64_t k = 0; k < kDepth; k++) {
        double sum = 0;
        for (int64_t n = 0; n < kCols; n++) sum += at(dy, m, n) * at(weight, e * kCols + n, k);
        expectNear("grouped dx", at(dx, m, k), sum, DType::bf16);
      }
  for (int64_t m = offsets[kExperts]; m < total; m++)
    for (int64_t n = 0; n < kCols; n++) expectNear("grouped rest", at(y, m, n), 0, DType::f32);
}

/// Causal attention of two heads that share their keys, in both directions, whose odd sizes leave half a pair everywhere.
void attention(int64_t rows, int64_t depth, int64_t width) {
  constexpr int64_t kHeads = 2;
  const float scale = 0.3f;
  const In q = matrix<In>(DType::bf16, {rows, kHeads, depth}, true), k = matrix<In>(DType::bf16, {rows, 1, depth}, true);
  const In v = matrix<In>(DType::bf16, {rows, 1, width}, true), dout = matrix<In>(DType::bf16, {rows, kHeads, width}, true);
  std::vector<int32_t> seen(2 * rows);
  for (int64_t r = 0; r < rows; r++) seen[2 * r + 1] = static_cast<int32_t>(r + 1);
  In ranges = ints(seen);
  ranges.rank = 2;
  ranges.shape[0] = rows, ranges.shape[1] = 2;
  ranges.stride[0] = 2, ranges.stride[1] = 1;
  const Out o = matrix<Out>(DType::bf16, {rows, kHeads, width}, false), lse = matrix<Out>(DType::f32, {rows, kHeads}, false);
  twin::attention_forward(o, lse, q, k, v, {}, ranges, scale);
  const Acc dq = accumulator(DType::bf16, {rows, kHeads, depth}, 0), dk = accumulator(DType::bf16, {rows, 1, depth}, 0);
  const Acc dv = accumulator(DType::bf16, {rows, 1, width}, 0);
  twin::attention_backward(dq, dk, dv, {}, dout, q, k, v, {}, as<In>(o), as<In>(lse), ranges, scale);

  std::vector<double> dk0(rows * depth), dv0(rows * width), p(rows), dp(rows);
  for (int64_t h = 0; h < kHeads; h++)
    for (int64_t r = 0; r < rows; r++) {
      const int64_t row = r * kHeads + h;
      double total = 0, delta = 0;
      std::vector<double> dq0(depth);
      for (int64_t j = 0; j <= r; j++) {
        p[j] = dp[j] = 0;
        for (int64_t c = 0; c < depth; c++) p[j] += scale * at(q, row, c) * at(k, j, c);
        for (int64_t c = 0; c < width; c++) dp[j] += at(dout, row, c) * at(v, j, c);
        total += p[j] = std::exp(p[j]);
      }
      expectNear("attention lse", at(lse, r, h), std::log(total), DType::f32);
      for (int64_t j = 0; j <= r; j++) delta += (p[j] /= total) * dp[j];
      for (int64_t c = 0; c < width; c++) {
        double sum = 0;
        for (int64_t j = 0; j <= r; j++) sum += p[j] * at(v, j, c);
        expectNear("attention o", at(o, row, c), sum, DType::bf16);
      }
      for (int64_t j = 0; j <= r; j++) {
        const double ds = scale * p[j] * (dp[j] - delta);
        for (int64_t c = 0; c < width; c++) dv0[j * width + c] += p[j] * at(dout, row, c);
        for (int64_t c = 0; c < depth; c++) dk0[j * depth + c] += ds * at(q, row, c), dq0[c] += ds * at(k, j, c);
      }
      for (int64_t c = 0; c < depth; c++) expectNear("attention dq", at(dq, row, c), dq0[c], DType::bf16);
    }
  for (int64_t i = 0; i < rows * depth; i++) expectNear("attention dk", at(dk, i / depth, i % depth), dk0[i], DType::bf16);
  for (int64_t i = 0; i < rows * width; i++) expectNear("attention dv", at(dv, i / width, i % width), dv0[i], DType::bf16);
}

}  // namespace

int main() {
  if (!twin::gemm::usesPairs(DType::bf16, DType::bf16)) return printf("built without a twin\n"), 1;
  linear(1, 1, 1, DType::f32, 0);
  linear(1, 40, 33, DType::bf16, 1);
  linear(16, 16, 32, DType::f32, 1);
  linear(33, 31, 300, DType::f32, 0);
  linear(50, 70, 64, DType::bf16, 1);
  linear(250, 17, 10, DType::f32, 1);
  linear(3, 1100, 5, DType::f32, 0);
  grouped();
  attention(1, 1, 1);
  attention(75, 13, 21);
  attention(140, 48, 32);
  printf("%d failures\n", failures);
  return failures != 0;
}
