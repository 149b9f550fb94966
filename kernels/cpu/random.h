// Random numbers that depend on nothing but (seed, counter): Philox4x32-10 (Salmon et al., SC 2011). No state, so any
// element can be made by any thread, and the GPU makes the same ones.
#pragma once
#include <cstdint>

namespace moe::MOE_ISA {

struct Philox {
  uint32_t word[4];
};

inline Philox philox(uint64_t seed, uint64_t counter, uint32_t stream = 0) {
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  uint32_t x0 = static_cast<uint32_t>(counter), x1 = static_cast<uint32_t>(counter >> 32), x2 = stream, x3 = 0;
  for (int round = 0; round < 10; round++) {
    const uint64_t p0 = uint64_t{0xD2511F53} * x0, p1 = uint64_t{0xCD9E8D57} * x2;
    const uint32_t y0 = static_cast<uint32_t>(p1 >> 32) ^ x1 ^ key0, y2 = static_cast<uint32_t>(p0 >> 32) ^ x3 ^ key1;
    x1 = static_cast<uint32_t>(p1);
    x3 = static_cast<uint32_t>(p0);
    x0 = y0;
    x2 = y2;
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return {{x0, x1, x2, x3}};
}

/// Uniform in (0, 1), never an end: 24 bits and half a step.
inline float uniform(uint32_t word) { return (static_cast<float>(word >> 8) + 0.5f) * (1.f / 16777216.f); }

}  // namespace moe::MOE_ISA
