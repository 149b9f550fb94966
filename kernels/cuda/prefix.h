// Prefix sums, as each lane takes part in them. Plain arithmetic, tested for all lanes.
#pragma once
#include <cstdint>

namespace moe::cuda::prefix {

/// One step over a warp: a lane adds what the lane `by` below it has, if there is one. After the steps 1, 2, 4, 8, 16 a lane has the
/// sum up to its own value. Hillis & Steele, CACM 29(12), 1986.
constexpr int32_t withBelow(int32_t mine, int32_t below, int lane, int by) { return lane >= by ? mine + below : mine; }

/// The values of one thread, of which the first `valid` count, become the sums of those before them. Returns the sum of all.
template <int N> constexpr int32_t sumsBefore(int32_t (&values)[N], int64_t valid) {
  int32_t sum = 0;
  for (int i = 0; i < N; i++) {
    const int32_t n = i < valid ? values[i] : 0;
    values[i] = sum;
    sum += n;
  }
  return sum;
}

}  // namespace moe::cuda::prefix
