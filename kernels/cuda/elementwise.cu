// add       y = a + b                    axpy   y = beta*y + a*x
// multiply  y = beta*y + a*b
// copy      y = x, f32 <-> bf16, any other dtype to itself
// fill      y = value
//
// How it runs and what bounds it: memory. Each thread moves one pack of 8 elements (16 bytes of bf16) where alignment allows,
// one element otherwise; contiguous tensors are walked as one long row.
#include "cuda.cuh"

namespace moe::cuda {

namespace {

template <class T> struct Add {
  Rows<T> y;
  Rows<const T> a, b;
  template <int n> __device__ void run(int64_t row, int64_t col) const {
    Floats<n> sum = load<n>(a.at(row, col));
    const Floats<n> other = load<n>(b.at(row, col));
#pragma unroll
    for (int i = 0; i < n; i++) sum.at[i] += other.at[i];
    store<n>(y.at(row, col), sum);
  }
};

template <class Y, class X> struct Axpy {
  Rows<Y> y;
  Rows<const X> x;
  float a, beta;
  template <int n> __device__ void run(int64_t row, int64_t col) const {
    Floats<n> v = load<n>(x.at(row, col));
#pragma unroll
    for (int i = 0; i < n; i++) v.at[i] *= a;
    accumulate<n>(y.at(row, col), v, beta);
  }
};

template <class Y, class A, class B> struct Multiply {
  Rows<Y> y;
  Rows<const A> a;
  Rows<const B> b;
  float beta;
  template <int n> __device__ void run(int64_t row, int64_t col) const {
    Floats<n> v = load<n>(a.at(row, col));
    const Floats<n> other = load<n>(b.at(row, col));
#pragma unroll
    for (int i = 0; i < n; i++) v.at[i] *= other.at[i];
    accumulate<n>(y.at(row, col), v, beta);
  }
};

template <class Y, class X> struct Convert {
  Rows<Y> y;
  Rows<const X> x;
  template <int n> __device__ void run(int64_t row, int64_t col) const { store<n>(y.at(row, col), load<n>(x.at(row, col))); }
};

/// Moves words as they are.
template <class T> struct Move {
  Rows<T> y;
  Rows<const T> x;
  template <int n> __device__ void run(int64_t row, int64_t col) const {
    *reinterpret_cast<Pack<T, n>*>(y.at(row, col)) = *reinterpret_cast<const Pack<T, n>*>(x.at(row, col));
  }
};

template <class T> struct Fill {
  T* y;
  T value;
  template <int n> __device__ void run(int64_t, int64_t col) const {
    Pack<T, n> v;
#pragma unroll
    for (int i = 0; i < n; i++) v.at[i] = value;
    *reinterpret_cast<Pack<T, n>*>(y + col) = v;
  }
};

template <class T> void fillWith(const Out& y, T value) { forEach(plane(y), Fill<T>{y.as<T>(), value}); }
/// From so many bytes on a copy in one piece is CUDA's own, which is faster than a kernel of ours; below it would only cost its start.
constexpr int64_t kWholeCopy = 1 << 20;

template <class T> void move(const Out& y, const In& x) { forEach(plane(y, x), Move<T>{rowsOf<T>(y), rowsOf<const T>(x)}); }

/// The bf16 of a float, on the CPU.
bf16 narrowed(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  return {static_cast<uint16_t>(x != x ? u >> 16 | 0x40 : (u + 0x7fff + (u >> 16 & 1)) >> 16)};
}

}  // namespace

void add(Out y, In a, In b) {
  dispatch(y.dtype, [&](auto t) {
    using T = decltype(t);
    forEach(plane(y, a, b), Add<T>{rowsOf<T>(y), rowsOf<const T>(a), rowsOf<const T>(b)});
  });
}

void axpy(Acc y, In x, float a) {
  if (!y) return;
  dispatch(y.dtype, [&](auto ty) {
    dispatch(x.dtype, [&](auto tx) {
      using Y = decltype(ty);
      using X = decltype(tx);
      forEach(plane(y, x), Axpy<Y, X>{rowsOf<Y>(y), rowsOf<const X>(x), a, y.beta});
    });
  });
}

void multiply(Acc y, In a, In b) {
  if (!y) return;
  dispatch(y.dtype, [&](auto ty) {
    dispatch(a.dtype, [&](auto ta) {
      dispatch(b.dtype, [&](auto tb) {
        using Y = decltype(ty);
        using A = decltype(ta);
        using B = decltype(tb);
        forEach(plane(y, a, b), Multiply<Y, A, B>{rowsOf<Y>(y), rowsOf<const A>(a), rowsOf<const B>(b), y.beta});
      });
    });
  });
}

void copy(Out y, In x) {
  if (y.dtype == x.dtype) {
    const int64_t all = y.size() * bytes(y.dtype);
    if (all >= kWholeCopy && y.contiguous() && x.contiguous()) return machine::copyWithin(y.data, x.data, static_cast<size_t>(all));
    switch (bytes(y.dtype)) {
      case 1: return move<uint8_t>(y, x);
      case 2: return move<uint16_t>(y, x);
      case 4: return move<uint32_t>(y, x);
      default: return move<uint64_t>(y, x);
    }
  }
  if (y.dtype == DType::f32 && x.dtype == DType::bf16) return forEach(plane(y, x), Convert<float, bf16>{rowsOf<float>(y), rowsOf<const bf16>(x)});
  if (y.dtype == DType::bf16 && x.dtype == DType::f32) return forEach(plane(y, x), Convert<bf16, float>{rowsOf<bf16>(y), rowsOf<const float>(x)});
  throw Error("bad-argument", std::string("copy: ") + name(x.dtype) + " does not convert to " + name(y.dtype) + "; only f32 and bf16 convert to each other.");
}

void fill(Out y, float value) {
  switch (y.dtype) {
    case DType::f32: return fillWith<float>(y, value);
    case DType::bf16: return fillWith<bf16>(y, narrowed(value));
    case DType::i32: return fillWith<int32_t>(y, static_cast<int32_t>(value));
    case DType::f64: return fillWith<double>(y, value);
    case DType::u8: return fillWith<uint8_t>(y, static_cast<uint8_t>(value));
  }
}

}  // namespace moe::cuda
