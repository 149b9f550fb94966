// One AdamW update of a parameter, and how parameters are written; formulas in optimizer.cu.
#pragma once
#include "../moments.h"
#include "random.cuh"
#include "segments.cuh"

namespace moe::cuda {

struct Adam {
  float lr, beta1, beta2, eps, decay, inverse1, inverse2;
  uint64_t seed;
};

/// What all parameters of an update have in common: numbers of the run, and where the device has those of the step.
struct Step {
  const float* scale;   ///< NaN: nothing is to change
  const double* rates;  ///< learning rate, 1 - beta1^t, 1 - beta2^t, t
  float beta1, beta2, eps;
  uint64_t parameters;

  __device__ __forceinline__ bool allowed() const { return *scale == *scale; }
  /// Of parameter `place`, which draws random numbers of its own in every step.
  __device__ __forceinline__ Adam of(int place, float decay) const {
    return {static_cast<float>(rates[0]), beta1, beta2, eps, decay, 1 / static_cast<float>(rates[1]), 1 / static_cast<float>(rates[2]),
            static_cast<uint64_t>(rates[3]) * parameters + static_cast<uint64_t>(place)};
  }
};

__device__ __forceinline__ void update(const Adam& a, float& p, float g, float& m, float& v) {
  const float decayed = p - a.lr * a.decay * p;
  m = a.beta1 * m + (1 - a.beta1) * g;
  v = a.beta2 * v + (1 - a.beta2) * (g * g);
  p = decayed - a.lr * (m * a.inverse1) / (sqrtf(v * a.inverse2) + a.eps);
}

/// The random words of n elements from `first` on: element i takes word i%4 of counter i/4. n is 1 or a multiple of 4 that
/// `first` is a multiple of.
template <int n> struct Words {
  uint32_t at[n];
  __device__ __forceinline__ Words(uint64_t seed, int64_t first) {
    if constexpr (n == 1) {
      const Philox p = philox(seed, static_cast<uint64_t>(first / 4));
      const int word = static_cast<int>(first % 4);
      at[0] = word == 0 ? p.word[0] : word == 1 ? p.word[1] : word == 2 ? p.word[2] : p.word[3];
    } else {
#pragma unroll
      for (int i = 0; i < n; i += 4) {
        const Philox p = philox(seed, static_cast<uint64_t>(first / 4 + i / 4));
#pragma unroll
        for (int j = 0; j < 4; j++) at[i + j] = p.word[j];
      }
    }
  }
};

/// p[at..at+n) = x: exact in f32, stochastic rounding in bf16.
template <int n> __device__ __forceinline__ void storeMaster(const Adam&, float* p, int64_t at, const Floats<n>& x) { store<n>(p + at, x); }
template <int n> __device__ __forceinline__ void storeMaster(const Adam& a, bf16* p, int64_t at, const Floats<n>& x) {
  const Words<n> words(a.seed, at);
  Pack<bf16, n> raw;
#pragma unroll
  for (int i = 0; i < n; i++) raw.at[i] = {moments::roundedAtRandom(__float_as_uint(x.at[i]), moments::parameterNoise(words.at[i]))};
  *reinterpret_cast<Pack<bf16, n>*>(p + at) = raw;
}

}  // namespace moe::cuda
