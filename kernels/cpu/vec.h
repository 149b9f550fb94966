// Vectors of floats, the width of the instruction set this file is compiled for, and bf16.
//
// `vec` is a GCC vector type: + - * / and comparisons work on it; loads and stores convert from and to bf16, so that a
// kernel is written once for both dtypes. Sums over a vector are taken in one fixed order.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace moe::MOE_ISA {

#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
#elif defined(__AVX2__)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif

typedef float vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t ivec __attribute__((vector_size(kLanes * 4)));
typedef uint16_t hvec __attribute__((vector_size(kLanes * 2)));
typedef float uvec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef uint16_t uhvec __attribute__((vector_size(kLanes * 2), aligned(2), may_alias));

/// The upper half of a float. Conversion rounds to nearest even; NaN stays NaN.
struct bf16 {
  uint16_t bits;
};

inline float widen(bf16 x) {
  const uint32_t u = static_cast<uint32_t>(x.bits) << 16;
  float f;
  memcpy(&f, &u, 4);
  return f;
}
inline float widen(float x) { return x; }

inline bf16 narrow(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  if ((u & 0x7fffffff) > 0x7f800000) return {static_cast<uint16_t>(u >> 16 | 0x40)};
  return {static_cast<uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16)};
}

inline void put(float* to, float x) { *to = x; }
inline void put(bf16* to, float x) { *to = narrow(x); }

inline vec splat(float x) { return x - vec{}; }  // minus: 0 + x would turn -0 into 0, and so cost an addition
inline vec load(const float* p) { return *reinterpret_cast<const uvec*>(p); }
inline vec load(const bf16* p) {
  const hvec h = *reinterpret_cast<const uhvec*>(p);
  const ivec wide = __builtin_convertvector(h, ivec) << 16;
  return reinterpret_cast<vec>(wide);
}
inline void store(float* p, vec x) { *reinterpret_cast<uvec*>(p) = x; }
/// With AVX-512 BF16 denormals become zero, as they do in its products.
inline void store(bf16* p, vec x) {
#if defined(__AVX512BF16__)
  const auto narrowed = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(x));
  memcpy(p, &narrowed, sizeof narrowed);
#else
  typedef uint32_t word __attribute__((vector_size(kLanes * 4)));
  const word u = reinterpret_cast<word>(x);
  const word rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;
  const word quiet = u >> 16 | 0x40;
  const word isNan = (u & 0x7fffffff) > 0x7f800000;
  *reinterpret_cast<uhvec*>(p) = __builtin_convertvector((isNan & quiet) | (~isNan & rounded), hvec);
#endif
}

/// The first n < kLanes elements; the others read as 0 and are not written.
template <class T> inline vec loadPart(const T* p, int n) {
  T part[kLanes] = {};
  for (int i = 0; i < n; i++) part[i] = p[i];
  return load(part);
}
template <class T> inline void storePart(T* p, vec x, int n) {
  T part[kLanes];
  store(part, x);
  for (int i = 0; i < n; i++) p[i] = part[i];
}

inline vec fma(vec a, vec b, vec c) {
#if defined(__AVX512F__)
  return reinterpret_cast<vec>(_mm512_fmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
#elif defined(__AVX2__)
  return reinterpret_cast<vec>(_mm256_fmadd_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(c)));
#else
  return a * b + c;
#endif
}

/// Half as many doubles, and the floats that become them.
typedef double dvec __attribute__((vector_size(kLanes * 4)));
typedef float halfvec __attribute__((vector_size(kLanes * 2)));

/// Exact; the compiler's own conversion goes by halves of that.
inline dvec doubles(halfvec x) {
#if defined(__AVX512F__)
  return reinterpret_cast<dvec>(_mm512_maskz_cvtps_pd(0xff, reinterpret_cast<__m256>(x)));
#elif defined(__AVX2__)
  return reinterpret_cast<dvec>(_mm256_cvtps_pd(reinterpret_cast<__m128>(x)));
#else
  return __builtin_convertvector(x, dvec);
#endif
}

/// Two bf16 that follow each other along k, the first in the lower half. They may be read from where they lie as bf16.
struct __attribute__((may_alias, packed, aligned(2))) pair {
  uint32_t bits;
};
typedef uint32_t pvec __attribute__((vector_size(kLanes * 4)));
typedef uint32_t upvec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

inline pvec splat(pair x) { return x.bits - pvec{}; }
inline pvec load(const pair* p) { return *reinterpret_cast<const upvec*>(p); }

/// Whether this build multiplies pairs faster than floats. (A test builds it with the loops that say the same.)
#if defined(__AVX512BF16__) || defined(MOE_PAIRS_TWIN)
inline constexpr bool kMultipliesPairs = true;
#else
inline constexpr bool kMultipliesPairs = false;
#endif

/// c + the odd product + the even one, as VDPBF16PS does it.
inline vec fma(pvec a, pvec b, vec c) {
#if defined(__AVX512BF16__)
  return reinterpret_cast<vec>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(c), reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b)));
#else
  constexpr uint32_t kUpper = 0xffff0000;
  return reinterpret_cast<vec>(a << 16) * reinterpret_cast<vec>(b << 16) + (reinterpret_cast<vec>(a & kUpper) * reinterpret_cast<vec>(b & kUpper) + c);
#endif
}

/// Rounds a and then b to 2 * kLanes bf16, denormals to zero where the CPU does both at once.
inline void storeTwo(bf16* to, vec a, vec b) {
#if defined(__AVX512BF16__)
  const auto both = _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(a));
  memcpy(to, &both, sizeof both);
#else
  store(to, a);
  store(to + kLanes, b);
#endif
}

inline void storeTwo(float* to, vec a, vec b) {
  store(to, a);
  store(to + kLanes, b);
}

/// The same as pairs: lane i holds a[i] and then b[i].
inline void store(pair* to, vec a, vec b) {
  typedef uint16_t words __attribute__((vector_size(kLanes * 4)));
  words both, order;
  storeTwo(reinterpret_cast<bf16*>(&both), a, b);
  for (int i = 0; i < 2 * kLanes; i++) order[i] = i / 2 + i % 2 * kLanes;
  both = __builtin_shuffle(both, order);
  memcpy(to, &both, sizeof both);
}

/// a > b ? a : b and a < b ? a : b, so b where one of them is NaN; compilers make three instructions of that.
/// (maskz, because GCC 12 warns of its own _mm512_max_ps.)
#if defined(__AVX512F__)
inline vec vmax(vec a, vec b) { return reinterpret_cast<vec>(_mm512_maskz_max_ps(0xffff, reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b))); }
inline vec vmin(vec a, vec b) { return reinterpret_cast<vec>(_mm512_maskz_min_ps(0xffff, reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b))); }
#elif defined(__AVX2__)
inline vec vmax(vec a, vec b) { return reinterpret_cast<vec>(_mm256_max_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b))); }
inline vec vmin(vec a, vec b) { return reinterpret_cast<vec>(_mm256_min_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b))); }
#else
inline vec vmax(vec a, vec b) { return a > b ? a : b; }
inline vec vmin(vec a, vec b) { return a < b ? a : b; }
#endif

/// Sum of the lanes, halving: (0+4)+(2+6) ... the same order for every call.
inline float sum(vec x) {
#pragma GCC unroll 4
  for (int half = kLanes / 2; half > 0; half /= 2) {
    ivec other;
    for (int i = 0; i < kLanes; i++) other[i] = (i + half) % kLanes;
    x += __builtin_shuffle(x, other);
  }
  return x[0];
}
inline float maximum(vec x) {
#pragma GCC unroll 4
  for (int half = kLanes / 2; half > 0; half /= 2) {
    ivec other;
    for (int i = 0; i < kLanes; i++) other[i] = (i + half) % kLanes;
    x = vmax(x, __builtin_shuffle(x, other));
  }
  return x[0];
}

/// Lane i: the maximum of x[i], which is overwritten. Each stage interleaves vector i with i + size/2, and so halves them.
inline vec maxima(vec (&x)[kLanes]) {
  ivec low, high;
  for (int i = 0; i < kLanes; i++) {
    low[i] = i / 2 + i % 2 * kLanes;
    high[i] = low[i] + kLanes / 2;
  }
#pragma GCC unroll 4
  for (int size = kLanes / 2; size > 0; size /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < size; i++) x[i] = vmax(__builtin_shuffle(x[i], x[i + size], low), __builtin_shuffle(x[i], x[i + size], high));
  return x[0];
}

/// True when any lane of a comparison holds.
inline bool any(ivec mask) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask(reinterpret_cast<__m512i>(mask), reinterpret_cast<__m512i>(mask)) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps(reinterpret_cast<__m256>(mask)) != 0;
#else
  int32_t all = 0;
  for (int i = 0; i < kLanes; i++) all |= mask[i];
  return all != 0;
#endif
}

/// Adding 1.5 * 2^23 rounds a float to the nearest integer, which the sum's lowest bits hold.
inline constexpr float kRoundToInteger = 12582912.f;

/// exp(x) to about 1 ulp on [-87, 88]; below it 0, above it the largest power: softmax never asks for more. NaN stays NaN,
/// because of the order of the arguments of vmin and vmax.
/// Cody-Waite reduction by ln 2 and a degree-6 minimax polynomial.
inline vec exp(vec x) {
  const vec clamped = vmin(splat(88.3762f), vmax(splat(-87.3365f), x));
  const vec n = fma(clamped, splat(1.44269504f), splat(kRoundToInteger)) - kRoundToInteger;
  vec r = fma(n, splat(-0.693359375f), clamped);
  r = fma(n, splat(2.12194440e-4f), r);
  vec p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = fma(p, r * r, r) + 1.f;
  const ivec power = (__builtin_convertvector(n, ivec) + 127) << 23;
  const vec result = p * reinterpret_cast<vec>(power);
  return x < splat(-87.3365f) ? splat(0.f) : result;
}

/// 1 / x to about 1 ulp, for x whose reciprocal is no denormal: a division costs as much as ten other operations.
inline vec reciprocal(vec x) {
#if defined(__AVX512F__)
  const vec guess = reinterpret_cast<vec>(_mm512_maskz_rcp14_ps(0xffff, reinterpret_cast<__m512>(x)));
  return fma(guess, fma(-x, guess, splat(1.f)), guess);
#else
  return 1.f / x;
#endif
}

/// 2^(n + r) for |r| <= 1/2, where `shifted` is n + kRoundToInteger: a degree-5 minimax polynomial, exact at 0, then n goes to the
/// exponent.
inline vec scaledPower(vec r, vec shifted) {
  vec p = splat(1.3264727e-3f);
  p = fma(p, r, splat(9.6715130e-3f));
  p = fma(p, r, splat(5.5507336e-2f));
  p = fma(p, r, splat(2.4022242e-1f));
  p = fma(p, r, splat(6.9314700e-1f));
  p = fma(p, r, splat(1.f));
  return reinterpret_cast<vec>(reinterpret_cast<ivec>(p) + (reinterpret_cast<ivec>(shifted) << 23));
}

/// 2^x to about 2e-7 of it on [-126, 127]; from -127 down it is 0, above 127 the largest power. NaN stays NaN, as in exp().
inline vec exp2(vec x) {
  const vec clamped = vmin(splat(127.f), vmax(splat(-127.f), x));
  const vec shifted = clamped + kRoundToInteger;
  return scaledPower(clamped - (shifted - kRoundToInteger), shifted);
}

/// 1 / (1 + 2^(-x log2 e)), by exp2()'s steps, whose remainder a single rounding finds here: within 7e-7 of itself for |x| <= 30, or
/// 2e-6 where fma() rounds twice.
inline vec sigmoid(vec x) {
  constexpr float kLog2e = 1.44269504f, kMost = 87.f;  // beyond, 1 + .. would have a denormal reciprocal
  const vec clamped = vmin(splat(kMost), vmax(splat(-kMost), x));
  const vec shifted = fma(clamped, splat(-kLog2e), splat(kRoundToInteger));
  const vec r = fma(clamped, splat(-kLog2e), kRoundToInteger - shifted);
  return reciprocal(1.f + scaledPower(r, shifted));
}

}  // namespace moe::MOE_ISA
