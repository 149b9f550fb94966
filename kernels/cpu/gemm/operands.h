// What a product multiplies, a unit: a float, which is one step of k, or a pair of bf16, which is two (pairs.h); and the copies
// that bring a left operand into units.
#pragma once
#include "gemm.h"
#include "pairs.h"

namespace moe::MOE_ISA::gemm {

/// Steps of k that a unit holds.
template <class U> inline constexpr int64_t kSteps = sizeof(U) / sizeof(bf16);
template <> inline constexpr int64_t kSteps<float> = 1;

inline int64_t memoryRow(const Left& a, int64_t m) { return a.rows ? a.rows[m] : m; }
inline int64_t memoryRow(const Right& b, int64_t k) { return b.rows ? b.rows[k] : k; }

/// Part of a as units: rows m0 .. and `depth` units from `k0` on, to[row*stride + unit]; with kFirst to[unit*stride + row].
inline void bringLeft(float* to, int64_t stride, const Product& p, int64_t m0, int64_t rows, int64_t k0, int64_t depth) {
  dispatch(p.a.dtype, [&](auto t) {
    const auto* from = static_cast<const decltype(t)*>(p.a.data);
    if (p.a.kFirst)
      for (int64_t k = 0; k < depth; k++) widenRow(to + k * stride, from + (k0 + k) * p.a.stride + m0, rows);
    else
      for (int64_t i = 0; i < rows; i++) widenRow(to + i * stride, from + memoryRow(p.a, m0 + i) * p.a.stride + k0, depth);
  });
}

inline void bringLeft(pair* to, int64_t stride, const Product& p, int64_t m0, int64_t rows, int64_t unit, int64_t depth) {
  const auto* from = static_cast<const bf16*>(p.a.data);
  if (p.a.kFirst)
    packPairsAcross(to, stride, kPairCols, rows, 2 * unit, depth, p.k, [&](int64_t k) { return from + k * p.a.stride + m0; });
  else
    packPairsAlong(to, stride, rows, 2 * unit, depth, p.k, [&](int64_t i) { return from + memoryRow(p.a, m0 + i) * p.a.stride; });
}

}  // namespace moe::MOE_ISA::gemm
