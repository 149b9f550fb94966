// The CUDA language on the host: a kernel includes <machine.cuh>, and the include path decides whether that is this file. Every
// function means what CUDA's of the same name means; the macros stand for CUDA's keywords.
#pragma once
#include <cmath>
#include <cstring>
#include <tuple>

#include "../number.h"
#include "../runtime.h"
#include "capture.h"
#include "emulator.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__

namespace moe {

namespace machine {
inline constexpr int kArgumentBytes = 600;  ///< few, so that a handful of tensors takes several launches
}

/// Runs kernel<<<grid, block, shared>>>(arguments...).
template <class... P, class... A> void launch(void (*kernel)(P...), dim3 grid, int block, size_t shared, A... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  const auto run = [=, all = std::tuple<P...>{static_cast<P>(arguments)...}] {
    machine::run(grid, dim3(block), shared, [&] { std::apply(kernel, all); });
  };
  if (auto* graph = machine::capturing()) graph->launches.emplace_back(run);
  else run();
}

template <class T> T* sharedMemory() { return reinterpret_cast<T*>(machine::sharedArena()); }

inline float widen(float x) { return x; }
inline float widen(bf16 x) {
  const uint32_t bits = uint32_t{x.bits} << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}
/// Rounds to nearest even; NaN stays NaN.
inline bf16 narrow(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  if ((u & 0x7fffffff) > 0x7f800000) return {static_cast<uint16_t>(u >> 16 | 0x40)};
  return {static_cast<uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16)};
}
/// Two bf16 in one register, the first in the lower half.
inline uint32_t pack(float first, float second) { return uint32_t{narrow(second).bits} << 16 | narrow(first).bits; }

}  // namespace moe

inline void __syncthreads() { moe::machine::barrier(0, static_cast<int>(blockDim.x * blockDim.y * blockDim.z)); }
inline void __syncwarp() {
  moe::machine::meet("__syncwarp", nullptr, [](void**) {});
}

namespace moe::machine {

template <class T> struct Exchange {
  T value;
  int lane;
};

/// Every lane gives a value and names the lane whose value it wants.
template <class T> T exchange(const char* what, T value, int from) {
  Exchange<T> mine{value, from};
  meet(what, &mine, [](void** lanes) {
    T all[kWarp];
    for (int i = 0; i < kWarp; i++) all[i] = static_cast<Exchange<T>*>(lanes[i])->value;
    for (int i = 0; i < kWarp; i++) {
      auto* lane = static_cast<Exchange<T>*>(lanes[i]);
      lane->value = all[lane->lane & (kWarp - 1)];
    }
  });
  return mine.value;
}

inline int lane() { return static_cast<int>(threadIdx.x % kWarp); }
inline void wholeWarp(unsigned mask) {
  if (mask != 0xffffffffu) fail("a warp function was called with a part of the warp; the emulator knows whole warps");
}

}  // namespace moe::machine

template <class T> T __shfl_sync(unsigned mask, T value, int from) {
  moe::machine::wholeWarp(mask);
  return moe::machine::exchange("__shfl_sync", value, from);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits) {
  moe::machine::wholeWarp(mask);
  return moe::machine::exchange("__shfl_xor_sync", value, moe::machine::lane() ^ bits);
}
template <class T> T __shfl_up_sync(unsigned mask, T value, int by) {
  moe::machine::wholeWarp(mask);
  const int from = moe::machine::lane() - by;
  return moe::machine::exchange("__shfl_up_sync", value, from < 0 ? moe::machine::lane() : from);
}
inline unsigned __ballot_sync(unsigned mask, bool vote) {
  moe::machine::wholeWarp(mask);
  struct Ballot {
    bool vote;
    unsigned all;
  } mine{vote, 0};
  moe::machine::meet("__ballot_sync", &mine, [](void** lanes) {
    unsigned all = 0;
    for (int i = 0; i < moe::machine::kWarp; i++) all |= unsigned{static_cast<Ballot*>(lanes[i])->vote} << i;
    for (int i = 0; i < moe::machine::kWarp; i++) static_cast<Ballot*>(lanes[i])->all = all;
  });
  return mine.all;
}

namespace moe::machine {
/// The largest (or least) value of the warp, for every lane.
template <bool largest, class T> T extreme(const char* what, unsigned mask, T value) {
  wholeWarp(mask);
  meet(what, &value, [](void** lanes) {
    T best = *static_cast<T*>(lanes[0]);
    for (int i = 1; i < kWarp; i++) {
      const T other = *static_cast<T*>(lanes[i]);
      if (largest ? other > best : other < best) best = other;
    }
    for (int i = 0; i < kWarp; i++) *static_cast<T*>(lanes[i]) = best;
  });
  return value;
}
}  // namespace moe::machine

inline unsigned __reduce_max_sync(unsigned mask, unsigned value) { return moe::machine::extreme<true>("__reduce_max_sync", mask, value); }
inline int __reduce_min_sync(unsigned mask, int value) { return moe::machine::extreme<false>("__reduce_min_sync", mask, value); }

/// Only on integers: kernels add no floats in an order that may change.
inline int atomicAdd(int* to, int value) {
  const int before = *to;
  *to += value;
  return before;
}

inline int __ffs(unsigned x) { return __builtin_ffs(static_cast<int>(x)); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(unsigned x) { return x ? __builtin_clz(x) : 32; }
inline uint32_t __umulhi(uint32_t a, uint32_t b) { return static_cast<uint32_t>(uint64_t{a} * b >> 32); }
inline uint32_t __float_as_uint(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  return u;
}
inline float __uint_as_float(uint32_t u) {
  float x;
  memcpy(&x, &u, 4);
  return x;
}
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
