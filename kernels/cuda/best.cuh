// The largest of many, the first of equal ones: what router, balance loss and greedy sampling agree on.
#pragma once
#include "cuda.cuh"

namespace moe::cuda {

struct Best {
  float value;
  int at;
};
inline constexpr int kNowhere = 0x7fffffff;

/// The larger one; of equal ones that of the smaller index.
__device__ __forceinline__ Best better(Best a, Best b) { return b.value > a.value || (b.value == a.value && b.at < a.at) ? b : a; }

/// Numbers in the order of floats that are not NaN; 0 and -0 are one.
__device__ __forceinline__ uint32_t rankOf(float x) {
  const uint32_t bits = __float_as_uint(x + 0.f);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/// Of values that better() chose, so none is NaN.
__device__ inline Best warpBest(Best x) {
  const uint32_t rank = rankOf(x.value), most = __reduce_max_sync(kAll, rank);
  const int at = __reduce_min_sync(kAll, rank == most ? x.at : kNowhere);
  return {__uint_as_float(most >> 31 ? most ^ 0x80000000u : ~most), at};
}

/// The best of values[0, n) for the whole warp; at kNowhere when all are NaN.
__device__ inline Best bestOf(const float* values, int n, int lane) {
  Best mine{-INFINITY, kNowhere};
  for (int i = lane; i < n; i += kLanes) mine = better(mine, {values[i], i});
  return warpBest(mine);
}

}  // namespace moe::cuda
