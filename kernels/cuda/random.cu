// random_normal   y = mean + deviation * z, z by Box-Muller from Philox, four to a counter
// dropout         y = beta*y + (u < rate ? 0 : x / (1 - rate)), u the element's own uniform number: it is its own gradient
//
// How it runs and what bounds it: memory. Element i takes word i%4 of counter i/4, whoever computes it.
#include "random.cuh"

namespace moe::cuda {

namespace {

template <class T> struct Normal {
  T* y;
  float mean, deviation;
  uint64_t seed;
  template <int n> __device__ void run(int64_t, int64_t col) const {
    Floats<n> out;
    Philox p{};
#pragma unroll
    for (int i = 0; i < n; i++) {
      const int64_t element = col + i;
      if (i == 0 || element % 4 == 0) p = philox(seed, static_cast<uint64_t>(element / 4));
      const int pair = element % 4 / 2;
      const float radius = sqrtf(-2.f * logf(uniform(pair ? p.word[2] : p.word[0]))), angle = 6.2831853f * uniform(pair ? p.word[3] : p.word[1]);
      out.at[i] = mean + deviation * radius * (element % 2 ? sinf(angle) : cosf(angle));
    }
    store<n>(y + col, out);
  }
};

template <class T> struct Dropout {
  Rows<T> y;
  Rows<const T> x;
  float beta, rate, scale;
  uint64_t seed;
  int64_t cols;
  template <int n> __device__ void run(int64_t row, int64_t col) const {
    Floats<n> v = load<n>(x.at(row, col));
    Philox p{};
#pragma unroll
    for (int i = 0; i < n; i++) {
      const int64_t element = row * cols + col + i;
      if (i == 0 || element % 4 == 0) p = philox(seed, static_cast<uint64_t>(element / 4));
      const int word = element % 4;
      const float u = uniform(word == 0 ? p.word[0] : word == 1 ? p.word[1] : word == 2 ? p.word[2] : p.word[3]);
      v.at[i] = u < rate ? 0.f : v.at[i] * scale;
    }
    accumulate<n>(y.at(row, col), v, beta);
  }
};

}  // namespace

void random_normal(Out y, float mean, float deviation, int64_t seed) {
  dispatch(y.dtype, [&](auto t) {
    using T = decltype(t);
    forEach(plane(y), Normal<T>{y.as<T>(), mean, deviation, static_cast<uint64_t>(seed)});
  });
}

void dropout(Acc y, In x, float rate, int64_t seed) {
  if (!y) return;
  if (!(rate >= 0 && rate < 1)) throw Error("bad-argument", "dropout: the rate must be 0 or more and below 1.");
  dispatch(y.dtype, [&](auto t) {
    using T = decltype(t);
    const Plane p = plane(y, x);
    forEach(p, Dropout<T>{rowsOf<T>(y), rowsOf<const T>(x), y.beta, rate, 1 / (1 - rate), static_cast<uint64_t>(seed), p.cols});
  });
}

}  // namespace moe::cuda
