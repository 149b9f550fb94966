// swiglu     y = silu(gate) * up                                     gate_up [R, 2C]: gate, then up
//   backward   dgate = dy up s (1 + gate (1 - s)),  dup = dy gate s,   s = sigmoid(gate)
// activation y = f(x),  dx = dy f'(x):  0 GELU x Phi(x) · 1 GELU by tanh · 2 ReLU · 3 SiLU · 4 tanh
//
// How it runs: one pass; two bytes in or out for every few operations of exp, so bound by memory on most machines, by
// arithmetic in the first-level cache. (Hendrycks & Gimpel, arXiv:1606.08415; Shazeer, arXiv:2002.05202)
#include "swiglu.h"

namespace moe::MOE_ISA {

namespace {

/// c[0] + c[1]*x + ...
template <int N> inline vec polynomial(const float (&c)[N], vec x) {
  vec p = splat(c[N - 1]);
  for (int i = N - 2; i >= 0; i--) p = fma(p, x, splat(c[i]));
  return p;
}

inline vec absolute(vec x) { return x < vec{} ? -x : x; }

/// tanh(x) within 2 ulp: x + x^3 P(x^2) near 0, where 1 - 2/(e^2x + 1) would cancel; P fitted on Chebyshev nodes.
inline vec tanh(vec x) {
  constexpr float kNear = 0.625f;
  static constexpr float kOdd[] = {-0.333333283662796f, 0.1333276927471161f, -0.05385090783238411f, 0.020997179672122f, -0.006096714176237583f};
  const vec square = x * x;
  const vec near = fma(square * x, polynomial(kOdd, square), x);
  const vec far = 1.f - 2.f / (exp(2.f * absolute(x)) + 1.f);
  return absolute(x) < splat(kNear) ? near : x < vec{} ? -far : far;
}

/// Phi(x), the normal distribution function: with z = |x|/sqrt 2 and t = 1/(1 + 0.6 z), erfc(z) = t e^(-z^2) P(t), where P
/// is fitted on Chebyshev nodes for z <= 9.5 (relative error 3e-7 in f32); beyond, e^(-z^2) is 0.
inline vec normalDistribution(vec x) {
  static constexpr float kErfc[] = {0.3385428488254547f, 0.337816059589386f, 0.28442513942718506f, 0.12064603716135025f, 0.10219226777553558f,
                                    -0.21559496223926544f, -0.21759691834449768f, 0.46704092621803284f, -0.27477553486824036f, 0.05730416998267174f};
  const vec z = absolute(x) * 0.70710678f;
  const vec t = 1.f / (1.f + 0.6f * z);
  const vec tail = 0.5f * t * exp(-z * z) * polynomial(kErfc, t);
  return x < vec{} ? tail : 1.f - tail;
}

/// Each activation: its value, and its derivative.
struct Gelu {
  static vec value(vec x) { return x * normalDistribution(x); }
  static vec slope(vec x) { return normalDistribution(x) + x * 0.39894228f * exp(-0.5f * x * x); }
};
struct GeluTanh {
  static constexpr float kRoot = 0.7978845608f, kCube = 0.044715f;  // sqrt(2/pi)
  static vec value(vec x) { return 0.5f * x * (1.f + tanh(kRoot * (x + kCube * x * x * x))); }
  static vec slope(vec x) {
    const vec h = tanh(kRoot * (x + kCube * x * x * x));
    return 0.5f * (1.f + h) + 0.5f * x * (1.f - h * h) * kRoot * (1.f + 3.f * kCube * x * x);
  }
};
struct Relu {
  static vec value(vec x) { return x < vec{} ? vec{} : x; }  // NaN stays NaN
  static vec slope(vec x) { return x > vec{} ? splat(1.f) : vec{}; }
};
struct Silu {
  static vec value(vec x) { return x * sigmoid(x); }
  static vec slope(vec x) {
    const vec s = sigmoid(x);
    return s * (1.f + x * (1.f - s));
  }
};
struct Tanh {
  static vec value(vec x) { return tanh(x); }
  static vec slope(vec x) {
    const vec h = tanh(x);
    return 1.f - h * h;
  }
};

template <class F> void withKind(int64_t kind, F&& f) {
  switch (kind) {
    case 0: return f(Gelu{});
    case 1: return f(GeluTanh{});
    case 2: return f(Relu{});
    case 3: return f(Silu{});
    case 4: return f(Tanh{});
  }
  throw Error("bad-argument", "activation: the kind must be 0 (GELU), 1 (GELU by tanh), 2 (ReLU), 3 (SiLU) or 4 (tanh).");
}

}  // namespace

void swiglu_forward(Out y, In gate_up) {
  const int64_t rows = y.shape[0], cols = y.shape[1];
  dispatch(y.dtype, [&](auto t) {
    using T = decltype(t);
    spans({rows, cols}, [&](int64_t row, int64_t col, int64_t count) {
      const T* gate = gate_up.as<T>() + row * 2 * cols + col;
      swiglu(y.as<T>() + row * cols + col, count, gate, gate + cols);
    });
  });
}

void swiglu_backward(Acc dgate_up, In dy, In gate_up) {
  if (!dgate_up) return;
  const int64_t rows = dy.shape[0], cols = dy.shape[1];
  dispatch(dy.dtype, [&](auto t) {
    using T = decltype(t);
    spans({rows, cols}, [&](int64_t row, int64_t col, int64_t count) {
      const T *gate = gate_up.as<T>() + row * 2 * cols + col, *d = dy.as<T>() + row * cols + col;
      T* to = dgate_up.as<T>() + row * 2 * cols + col;
      if (dgate_up.beta == 0) swigluBackward<false>(to, to + cols, count, d, gate, gate + cols);
      else swigluBackward<true>(to, to + cols, count, d, gate, gate + cols);
    });
  });
}

void activation_forward(Out y, In x, int64_t kind) {
  withKind(kind, [&](auto f) {
    using F = decltype(f);
    dispatch(y.dtype, [&](auto t) {
      using T = decltype(t);
      spans({1, y.size()}, [&](int64_t, int64_t col, int64_t count) { map(y.as<T>() + col, count, F::value, x.as<T>() + col); });
    });
  });
}

void activation_backward(Acc dx, In dy, In x, int64_t kind) {
  if (!dx) return;
  withKind(kind, [&](auto f) {
    using F = decltype(f);
    dispatch(dy.dtype, [&](auto t) {
      using T = decltype(t);
      spans({1, dy.size()}, [&](int64_t, int64_t col, int64_t count) {
        accumulate(dx.beta, dx.as<T>() + col, count, [](vec e, vec v) { return e * F::slope(v); }, dy.as<T>() + col, x.as<T>() + col);
      });
    });
  });
}

}  // namespace moe::MOE_ISA
