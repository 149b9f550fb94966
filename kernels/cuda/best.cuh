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

__device__ inline Best warpBest(Best x) {
#pragma unroll
  for (int half = kLanes / 2; half > 0; half /= 2) x = better(x, {__shfl_xor_sync(kAll, x.value, half), __shfl_xor_sync(kAll, x.at, half)});
  return x;
}

/// The best of values[0, n) for the whole warp; at kNowhere when all are NaN.
__device__ inline Best bestOf(const float* values, int n, int lane) {
  Best mine{-INFINITY, kNowhere};
  for (int i = lane; i < n; i += kLanes) mine = better(mine, {values[i], i});
  return warpBest(mine);
}

}  // namespace moe::cuda
