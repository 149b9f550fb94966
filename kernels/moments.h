// How AdamW's moments are kept in 8 bits: block-wise dynamic quantisation (Dettmers et al., arXiv:2110.02861). The same code on
// the CPU and on GPUs, so both make the same bytes.
//
// A block of 256 elements shares one f32 scale, its largest magnitude; each element is a code of the part x of it, 0 <= x <= 1.
// Codes are floats of a changing split: code 2^e - 1 + f, f = 1 .. 2^e, stands for
//
//   top(e) * (0.1 + 0.9 * f / 2^e)      top(e) = 10^(e + 1 - bits), e = 0 .. bits-1;  for e = 0 from 0 instead of 0.1 top
//
// so large parts get many steps, small ones few, over bits-1 decades; 0 and 1 are exact. That is one increasing piecewise linear
// map, and rounding is taken on it: position + noise, cut to an integer, which is right on average for noise uniform in [0, 1).
//
// Departures from the paper: rounding is random, because with a beta near 1 a moment moves by less than half a step and would
// stand still; of the second moment the root is kept, so that both span the same decades of the gradient, and a root that is not
// 0 never becomes less than the least first moment, so that m / sqrt(v) stays bounded.
#pragma once
#include <cstdint>

namespace moe::moments {

inline constexpr int kBlock = 256;
inline constexpr int kFirst = 7, kRoot = 8;  ///< bits of magnitude: m has a sign besides, sqrt(v) needs none
inline constexpr int kLeastRoot = 3;         ///< the root's code of 10^-6, the least magnitude of m

/// What a code stands for, as a part of the block's scale.
template <int bits> constexpr float valueOf(int code) {
  float top = 1;
  int size = 1 << (bits - 1);  // steps of the decade
  for (int i = bits - 1; i > 0; i--)
    if (code < 1 << i) {
      top *= 0.1f;
      size /= 2;
    }
  const float bottom = size > 1 ? 0.1f * top : 0.f;
  return bottom + (top - bottom) * (static_cast<float>(code - (size - 1)) / static_cast<float>(size));
}

/// The code of a part 0 <= x <= 1; noise in [0, 1), 0.5 for the nearest.
template <int bits> constexpr int codeOf(float x, float noise) {
  float top = 1;
  int size = 1 << (bits - 1);
  for (int i = bits - 1; i > 0; i--)
    if (x <= 0.1f * top) {
      top *= 0.1f;
      size /= 2;
    }
  const float bottom = size > 1 ? 0.1f * top : 0.f;
  const float place = (x - bottom) / (top - bottom) * static_cast<float>(size) + noise;
  return size - 1 + static_cast<int>(place < static_cast<float>(size) ? place : static_cast<float>(size));
}

/// A random word of an element: 16 bits for rounding its parameter, 8 for each moment.
constexpr uint32_t parameterNoise(uint32_t word) { return word & 0xffff; }
constexpr float firstNoise(uint32_t word) { return (static_cast<float>(word >> 16 & 0xff) + 0.5f) * (1.f / 256.f); }
constexpr float rootNoise(uint32_t word) { return (static_cast<float>(word >> 24) + 0.5f) * (1.f / 256.f); }

constexpr float firstOf(uint8_t byte, float scale) {
  const float magnitude = valueOf<kFirst>(byte & 0x7f) * scale;
  return byte & 0x80 ? -magnitude : magnitude;
}
constexpr float rootOf(uint8_t byte, float scale) { return valueOf<kRoot>(byte) * scale; }

/// inverse: 1 / scale, or 0 for a block of zeros.
constexpr uint8_t firstByte(float m, float inverse, float noise) {
  const float x = m < 0 ? -m : m;
  return static_cast<uint8_t>((m < 0 ? 0x80 : 0) | codeOf<kFirst>(x * inverse, noise));
}
constexpr uint8_t rootByte(float root, float inverse, float noise) {
  const int code = codeOf<kRoot>(root * inverse, noise);
  return static_cast<uint8_t>(root > 0 && code < kLeastRoot ? kLeastRoot : code);
}

/// The bits of a float rounded to bf16 stochastically, up with the probability of its lower half: right on average. NaN stays NaN.
constexpr uint16_t roundedAtRandom(uint32_t bits, uint32_t noise16) {
  if ((bits & 0x7f800000) == 0x7f800000) return static_cast<uint16_t>(bits >> 16 | ((bits & 0x7fffff) ? 0x40 : 0));
  return static_cast<uint16_t>((bits + noise16) >> 16);
}

}  // namespace moe::moments
