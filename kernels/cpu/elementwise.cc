// add        y = a + b                     axpy      y = beta*y + a*x            multiply   y = beta*y + a*b
// copy       y = x, rows apart, f32 <-> bf16         fill      y = value
// dropout    y = beta*y + (u < rate ? 0 : x / (1 - rate)), u the element's own uniform number: it is its own gradient
//
// How it runs: dense operands are one long row, cut into tasks of kSpan elements; bound by memory.
#include "elementwise.h"
#include "random.h"

namespace moe::MOE_ISA {

namespace {

/// u[0..n) for the elements first .. first + n of the flattened tensor: element i takes word i%4 of counter i/4.
void uniforms(uint64_t seed, int64_t first, int64_t n, float* u) {
  for (int64_t i = 0; i < n;) {
    const int64_t element = first + i;
    const Philox p = philox(seed, static_cast<uint64_t>(element / 4));
    for (int64_t word = element % 4; word < 4 && i < n; word++, i++) u[i] = uniform(p.word[word]);
  }
}

/// Elements of equal type, which are moved as they are.
void copyBytes(const Out& y, const In& x) {
  const int64_t size = bytes(y.dtype);
  spans(gridOf(y, x), [&](int64_t row, int64_t col, int64_t count) {
    memcpy(y.as<char>() + (row * y.stride[0] + col) * size, x.as<char>() + (row * x.stride[0] + col) * size, static_cast<size_t>(count * size));
  });
}

template <class T> void fillWith(const Out& y, T value) {
  spans({1, y.size()}, [&](int64_t, int64_t col, int64_t count) {
    T* to = y.as<T>() + col;
    for (int64_t i = 0; i < count; i++) to[i] = value;
  });
}

}  // namespace

void add(Out y, In a, In b) {
  dispatch(y.dtype, [&](auto t) {
    using T = decltype(t);
    spans(gridOf(y, a, b), [&](int64_t row, int64_t col, int64_t count) {
      map(at<T>(y, row, col), count, [](vec p, vec q) { return p + q; }, at<T>(a, row, col), at<T>(b, row, col));
    });
  });
}

void axpy(Acc y, In x, float a) {
  if (!y) return;
  dispatch(y.dtype, x.dtype, [&](auto t, auto u) {
    using Y = decltype(t);
    using X = decltype(u);
    spans(gridOf(y, x), [&](int64_t row, int64_t col, int64_t count) {
      accumulate(y.beta, at<Y>(y, row, col), count, [a](vec v) { return a * v; }, at<X>(x, row, col));
    });
  });
}

void multiply(Acc y, In a, In b) {
  if (!y) return;
  dispatch(a.dtype, b.dtype, [&](auto t, auto u) {
    using A = decltype(t);
    using B = decltype(u);
    dispatch(y.dtype, [&](auto w) {
      using Y = decltype(w);
      spans(gridOf(y, a, b), [&](int64_t row, int64_t col, int64_t count) {
        accumulate(y.beta, at<Y>(y, row, col), count, [](vec p, vec q) { return p * q; }, at<A>(a, row, col), at<B>(b, row, col));
      });
    });
  });
}

void dropout(Acc y, In x, float rate, int64_t seed) {
  if (!y) return;
  if (!(rate >= 0 && rate < 1)) throw Error("bad-argument", "dropout: the rate must be 0 or more and below 1.");
  const float scale = 1 / (1 - rate);
  const int64_t cols = x.shape[1];
  dispatch(y.dtype, [&](auto t) {
    using T = decltype(t);
    spans(gridOf(y, x), [&](int64_t row, int64_t col, int64_t count) {
      constexpr int64_t kPiece = 256;
      float u[kPiece];
      for (int64_t i = 0; i < count; i += kPiece) {
        const int64_t n = count - i < kPiece ? count - i : kPiece;
        uniforms(static_cast<uint64_t>(seed), row * cols + col + i, n, u);
        const auto kept = [rate, scale](vec v, vec p) { return p < splat(rate) ? vec{} : v * scale; };
        accumulate(y.beta, at<T>(y, row, col + i), n, kept, at<T>(x, row, col + i), static_cast<const float*>(u));
      }
    });
  });
}

void copy(Out y, In x) {
  if (y.dtype == x.dtype) return copyBytes(y, x);
  const auto isFloat = [](DType d) { return d == DType::f32 || d == DType::bf16; };
  if (!isFloat(y.dtype) || !isFloat(x.dtype))
    throw Error("bad-argument", std::string("copy: ") + name(x.dtype) + " cannot become " + name(y.dtype) + "; only f32 and bf16 are converted.");
  dispatch(y.dtype, x.dtype, [&](auto t, auto u) {
    using Y = decltype(t);
    using X = decltype(u);
    spans(gridOf(y, x), [&](int64_t row, int64_t col, int64_t count) {
      map(at<Y>(y, row, col), count, [](vec v) { return v; }, at<X>(x, row, col));
    });
  });
}

void fill(Out y, float value) {
  switch (y.dtype) {
    case DType::f32: return fillWith(y, value);
    case DType::bf16: return fillWith(y, narrow(value));
    case DType::i32: return fillWith(y, static_cast<int32_t>(value));
    case DType::f64: return fillWith(y, static_cast<double>(value));
    case DType::u8: return fillWith(y, static_cast<uint8_t>(value));
  }
}

}  // namespace moe::MOE_ISA
