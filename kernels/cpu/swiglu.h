// silu(gate) * up and its gradient, row by row.
#pragma once
#include "elementwise.h"

namespace moe::MOE_ISA {

/// y[i] = silu(gate[i]) * up[i]
template <class T> inline void swiglu(T* y, int64_t n, const T* gate, const T* up) {
  map(y, n, [](vec g, vec u) { return g * sigmoid(g) * u; }, gate, up);
}

/// Both halves of the gradient, which share the sigmoid.
struct SwigluGradient {
  vec gate, up;
};
inline SwigluGradient swigluGradient(vec dy, vec gate, vec up) {
  const vec s = sigmoid(gate), silu = gate * s;
  return {dy * up * fma(silu, 1.f - s, s), dy * silu};
}

/// dgate and dup get, or with `add` are increased by, the gradients of n elements.
template <bool add, class T> inline void swigluBackward(T* dgate, T* dup, int64_t n, const T* dy, const T* gate, const T* up) {
  int64_t i = 0;
  if constexpr (kAllBf16<T>)
    for (; i + kTwo <= n; i += kTwo) {
      const Two d = loadTwo(dy + i), g = loadTwo(gate + i), u = loadTwo(up + i);
      SwigluGradient a = swigluGradient(d.a, g.a, u.a), b = swigluGradient(d.b, g.b, u.b);
      if (add) {
        const Two oldGate = loadTwo(dgate + i), oldUp = loadTwo(dup + i);
        a = {oldGate.a + a.gate, oldUp.a + a.up};
        b = {oldGate.b + b.gate, oldUp.b + b.up};
      }
      storeTwo(dgate + i, Two{a.gate, b.gate});
      storeTwo(dup + i, Two{a.up, b.up});
    }
  for (; i + kLanes <= n; i += kLanes) {
    const SwigluGradient d = swigluGradient(load(dy + i), load(gate + i), load(up + i));
    store(dgate + i, add ? load(dgate + i) + d.gate : d.gate);
    store(dup + i, add ? load(dup + i) + d.up : d.up);
  }
  if (const int left = static_cast<int>(n - i)) {
    const SwigluGradient d = swigluGradient(loadPart(dy + i, left), loadPart(gate + i, left), loadPart(up + i, left));
    storePart(dgate + i, add ? loadPart(dgate + i, left) + d.gate : d.gate, left);
    storePart(dup + i, add ? loadPart(dup + i, left) + d.up : d.up, left);
  }
}

}  // namespace moe::MOE_ISA
