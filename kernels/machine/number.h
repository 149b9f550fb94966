// bf16 in bits and the constants of vectors, the same on both machines; conversions that the GPU does in one instruction are in
// machine.cuh.
#pragma once
#include <cstdint>

namespace moe {

/// The upper half of a float.
struct bf16 {
  uint16_t bits;
};

/// n elements that are read and written at once: 16 bytes an access.
template <class T, int n> struct alignas(sizeof(T) * n < 16 ? sizeof(T) * n : 16) Pack {
  T at[n];
};

}  // namespace moe
