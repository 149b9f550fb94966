// Random numbers that depend on nothing but (seed, counter): Philox4x32-10 (Salmon et al., SC 2011); the same numbers as the
// CPU's kernels/cpu/random.h makes.
#pragma once
#include "cuda.cuh"

namespace moe::cuda {

struct Philox {
  uint32_t word[4];
};

__device__ inline Philox philox(uint64_t seed, uint64_t counter, uint32_t stream = 0) {
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  uint32_t x0 = static_cast<uint32_t>(counter), x1 = static_cast<uint32_t>(counter >> 32), x2 = stream, x3 = 0;
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const uint32_t y0 = __umulhi(0xCD9E8D57u, x2) ^ x1 ^ key0, y2 = __umulhi(0xD2511F53u, x0) ^ x3 ^ key1;
    x1 = 0xCD9E8D57u * x2;
    x3 = 0xD2511F53u * x0;
    x0 = y0;
    x2 = y2;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return {{x0, x1, x2, x3}};
}

/// Uniform in (0, 1), never an end: 24 bits and half a step.
__device__ inline float uniform(uint32_t word) { return (static_cast<float>(word >> 8) + 0.5f) * (1.f / 16777216.f); }

}  // namespace moe::cuda
