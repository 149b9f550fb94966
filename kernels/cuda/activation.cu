// swiglu      y = silu(g) u,  silu(g) = g s(g),  s(g) = 1 / (1 + exp(-g)),  [g | u] = gate_up
//             du = dy silu(g)      dg = dy u s(g) (1 + g (1 - s(g)))
// activation  0 gelu x Phi(x)  1 gelu by tanh  2 relu  3 silu  4 tanh
//
// How it runs and what bounds it: memory, as elementwise.cu. The derivative recomputes the activation from its input, so that
// nothing but the input is kept for it.
#include "cuda.cuh"

namespace moe::cuda {

namespace {

template <class T> struct Swiglu {
  T* y;
  const T* gateUp;
  int64_t cols;
  template <int n> __device__ void run(int64_t row, int64_t col) const {
    const T* from = gateUp + row * 2 * cols + col;
    Floats<n> g = load<n>(from);
    const Floats<n> u = load<n>(from + cols);
#pragma unroll
    for (int i = 0; i < n; i++) g.at[i] *= sigmoid(g.at[i]) * u.at[i];
    store<n>(y + row * cols + col, g);
  }
};

template <class T> struct SwigluBackward {
  T* dgateUp;
  const T *dy, *gateUp;
  int64_t cols;
  float beta;
  template <int n> __device__ void run(int64_t row, int64_t col) const {
    const int64_t at = row * 2 * cols + col;
    Floats<n> g = load<n>(gateUp + at), u = load<n>(gateUp + at + cols);
    const Floats<n> d = load<n>(dy + row * cols + col);
#pragma unroll
    for (int i = 0; i < n; i++) {
      const float gate = g.at[i], s = sigmoid(gate);
      g.at[i] = d.at[i] * u.at[i] * s * (1 + gate * (1 - s));
      u.at[i] = d.at[i] * gate * s;
    }
    accumulate<n>(dgateUp + at, g, beta);
    accumulate<n>(dgateUp + at + cols, u, beta);
  }
};

enum Kind { geluExact, geluTanh, relu, silu, tanhyp };
constexpr float kSqrt2OverPi = 0.7978845608028654f, kGeluCubic = 0.044715f, kInvSqrt2 = 0.7071067811865476f, kInvSqrt2Pi = 0.3989422804014327f;

__device__ __forceinline__ float activate(float x, int kind) {
  switch (kind) {
    case geluExact: return 0.5f * x * (1 + erff(x * kInvSqrt2));
    case geluTanh: return 0.5f * x * (1 + tanhf(kSqrt2OverPi * (x + kGeluCubic * x * x * x)));
    case relu: return fmaxf(x, 0.f);
    case silu: return x * sigmoid(x);
    default: return tanhf(x);
  }
}

__device__ __forceinline__ float slope(float x, int kind) {
  switch (kind) {
    case geluExact: return 0.5f * (1 + erff(x * kInvSqrt2)) + x * kInvSqrt2Pi * expf(-0.5f * x * x);
    case geluTanh: {
      const float t = tanhf(kSqrt2OverPi * (x + kGeluCubic * x * x * x));
      return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * kSqrt2OverPi * (1 + 3 * kGeluCubic * x * x);
    }
    case relu: return x > 0 ? 1.f : 0.f;
    case silu: {
      const float s = sigmoid(x);
      return s * (1 + x * (1 - s));
    }
    default: {
      const float t = tanhf(x);
      return 1 - t * t;
    }
  }
}

template <class T> struct Activation {
  T* y;
  const T* x;
  int kind;
  template <int n> __device__ void run(int64_t, int64_t col) const {
    Floats<n> v = load<n>(x + col);
#pragma unroll
    for (int i = 0; i < n; i++) v.at[i] = activate(v.at[i], kind);
    store<n>(y + col, v);
  }
};

template <class T> struct ActivationBackward {
  T* dx;
  const T *dy, *x;
  int kind;
  float beta;
  template <int n> __device__ void run(int64_t, int64_t col) const {
    Floats<n> v = load<n>(x + col);
    const Floats<n> d = load<n>(dy + col);
#pragma unroll
    for (int i = 0; i < n; i++) v.at[i] = d.at[i] * slope(v.at[i], kind);
    accumulate<n>(dx + col, v, beta);
  }
};

/// Rows and columns of one half of gate_up; wide only when a half begins at a whole pack.
Plane halves(const View& y, const View& gateUp) {
  Plane p{y.shape[0], y.shape[1], true};
  for (const View* v : {&y, &gateUp}) p.wide &= reinterpret_cast<uintptr_t>(v->data) % 16 == 0;
  p.wide &= p.cols % kVec == 0;
  return p;
}

}  // namespace

void swiglu_forward(Out y, In gate_up) {
  dispatch(y.dtype, [&](auto t) {
    using T = decltype(t);
    forEach(halves(y, gate_up), Swiglu<T>{y.as<T>(), gate_up.as<T>(), y.shape[1]});
  });
}

void swiglu_backward(Acc dgate_up, In dy, In gate_up) {
  if (!dgate_up) return;
  dispatch(dy.dtype, [&](auto t) {
    using T = decltype(t);
    Plane p = halves(dy, gate_up);
    p.wide &= reinterpret_cast<uintptr_t>(dgate_up.data) % 16 == 0;
    forEach(p, SwigluBackward<T>{dgate_up.as<T>(), dy.as<T>(), gate_up.as<T>(), dy.shape[1], dgate_up.beta});
  });
}

void activation_forward(Out y, In x, int64_t kind) {
  dispatch(y.dtype, [&](auto t) {
    using T = decltype(t);
    forEach(plane(y, x), Activation<T>{y.as<T>(), x.as<T>(), static_cast<int>(kind)});
  });
}

void activation_backward(Acc dx, In dy, In x, int64_t kind) {
  if (!dx) return;
  dispatch(x.dtype, [&](auto t) {
    using T = decltype(t);
    forEach(plane(dx, dy, x), ActivationBackward<T>{dx.as<T>(), dy.as<T>(), x.as<T>(), static_cast<int>(kind), dx.beta});
  });
}

}  // namespace moe::cuda
