// One AdamW update of a vector of parameters, and how parameters are written; formulas in optimizer.cc.
#pragma once
#include "../moments.h"
#include "elementwise.h"
#include "random.h"

namespace moe::MOE_ISA {

struct Adam {
  float lr, beta1, beta2, eps, decay, inverse1, inverse2, scale;
  uint64_t seed;
};

/// The scale that forbids an update (clip_scale): NaN.
constexpr float kForbidden = __builtin_nanf("");

/// What all parameters of one update have in common.
struct Step {
  float lr, beta1, beta2, eps, inverse1, inverse2, scale;
  uint64_t number;

  Step(const In& scale, const In& rates, float beta1, float beta2, float eps) : beta1(beta1), beta2(beta2), eps(eps), scale(*scale.as<float>()) {
    const double* r = rates.as<double>();
    lr = static_cast<float>(r[0]);
    inverse1 = 1 / static_cast<float>(r[1]);
    inverse2 = 1 / static_cast<float>(r[2]);
    number = static_cast<uint64_t>(r[3]);
  }
  bool allowed() const { return scale == scale; }
  /// Of parameter i of `count`: its own decay, and random numbers of its own in every step.
  Adam of(int64_t i, int64_t count, float decay) const {
    return {lr, beta1, beta2, eps, decay, inverse1, inverse2, scale, number * static_cast<uint64_t>(count) + static_cast<uint64_t>(i)};
  }
};

/// Lane by lane; the compiler makes it one instruction.
inline vec squareRoot(vec x) {
  float lane[kLanes];
  store(lane, x);
  for (float& value : lane) value = __builtin_sqrtf(value);
  return load(lane);
}

/// One vector of parameters. Returns the new values; m and v are updated in place.
inline vec update(const Adam& a, vec p, vec g, vec& m, vec& v) {
  g = g * a.scale;
  p = p - (a.lr * a.decay) * p;
  m = a.beta1 * m + (1.f - a.beta1) * g;
  v = a.beta2 * v + (1.f - a.beta2) * (g * g);
  return p - a.lr * (m * a.inverse1) / (squareRoot(v * a.inverse2) + a.eps);
}

/// The random words of elements [first, first + n); first is a multiple of 4. Element i takes word i%4 of counter i/4.
inline void randomWords(uint32_t* to, uint64_t seed, int64_t first, int n) {
  for (int i = 0; i < n; i += 4) {
    const Philox p = philox(seed, static_cast<uint64_t>((first + i) / 4));
    for (int j = i; j < n && j < i + 4; j++) to[j] = p.word[j - i];
  }
}

/// p[i..i+n) = next, n <= kLanes: exact in f32, stochastic rounding in bf16.
inline void storeMaster(const Adam&, float* p, int64_t i, vec next, int n) {
  if (n == kLanes) store(p + i, next);
  else storePart(p + i, next, n);
}
inline void storeMaster(const Adam& a, bf16* p, int64_t i, vec next, int n) {
  uint32_t words[kLanes], bits[kLanes];
  memcpy(bits, &next, sizeof bits);
  randomWords(words, a.seed, i, n);
  for (int j = 0; j < n; j++) p[i + j] = {moments::roundedAtRandom(bits[j], moments::parameterNoise(words[j]))};
}

}  // namespace moe::MOE_ISA
