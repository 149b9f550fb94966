// AdamW, the gradient's norm, and averages: passes over memory.
//
//   adamw   p -= lr*decay*p;  m = b1*m + (1-b1)*g;  v = b2*v + (1-b2)*g^2
//           p -= lr * (m/c1) / (sqrt(v/c2) + eps),  g = scale[0] * grad        (Loshchilov & Hutter, arXiv:1711.05101)
//           a bf16 master is rounded at random (moments.h), so that steps below its precision count on average
//   clip    norm = sqrt(sum), scale = min(1, max/(norm + 1e-6))
//   lerp    y += t*(x - y)
//
// How it runs: blocks of kBlock elements are the tasks; each reads and writes every stream once, so memory bandwidth is
// the bound (28 bytes a parameter in f32). Sums are taken per block in f64 and added in the order of the blocks.
#include "adam.h"

namespace moe::MOE_ISA {

namespace {

constexpr int64_t kBlock = 16384;

/// Runs body(begin, end) over blocks of [0, n).
template <class F> void blocks(int64_t n, F&& body) {
  parallel::loop(divideUp(n, kBlock), [&](int64_t task, int) {
    const int64_t begin = task * kBlock;
    body(begin, begin + kBlock < n ? begin + kBlock : n);
  });
}

template <class P, class G, class S> void adamwBlock(const Adam& a, P* p, bf16* copy, const G* g, S* m, S* v, int64_t begin, int64_t end) {
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) {
    vec first = load(m + i), second = load(v + i);
    const vec next = update(a, load(p + i), load(g + i), first, second);
    store(m + i, first);
    store(v + i, second);
    storeMaster(a, p, i, next, kLanes);
    if (copy) store(copy + i, next);
  }
  if (const int left = static_cast<int>(end - i)) {
    vec first = loadPart(m + i, left), second = loadPart(v + i, left);
    const vec next = update(a, loadPart(p + i, left), loadPart(g + i, left), first, second);
    storePart(m + i, first, left);
    storePart(v + i, second, left);
    storeMaster(a, p, i, next, left);
    if (copy) storePart(copy + i, next, left);
  }
}

/// f64 sum of a[i]*b[i] of a block: kStrands sums side by side, so that additions do not wait for each other, in a fixed order.
template <class T> double products(const T* a, const T* b, int64_t begin, int64_t end) {
  constexpr int kStrands = 16;
  double strand[kStrands] = {};
  float p[kStrands], q[kStrands];
  int64_t i = begin;
  for (; i + kStrands <= end; i += kStrands) {
    for (int j = 0; j < kStrands; j += kLanes) {
      store(p + j, load(a + i + j));
      store(q + j, load(b + i + j));
    }
    for (int j = 0; j < kStrands; j++) strand[j] += static_cast<double>(p[j]) * static_cast<double>(q[j]);
  }
  for (; i < end; i++) strand[0] += static_cast<double>(widen(a[i])) * static_cast<double>(widen(b[i]));
  for (int half = kStrands / 2; half > 0; half /= 2)
    for (int j = 0; j < half; j++) strand[j] += strand[j + half];
  return strand[0];
}

/// Adds block(begin, end) over all blocks of [0, n) in their order.
template <class F> double sumOfBlocks(int64_t n, F&& block) {
  const int64_t count = divideUp(n, kBlock);
  auto* partial = static_cast<double*>(parallel::shared(count * static_cast<int64_t>(sizeof(double))));
  blocks(n, [&](int64_t begin, int64_t end) { partial[begin / kBlock] = block(begin, end); });
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += partial[i];
  return sum;
}

void addTo(const Acc& sum, double value) {
  double* to = sum.as<double>();
  *to = sum.beta == 0 ? value : *to + value;
}

}  // namespace

void adamw(Mut master, MaybeOut copy, In grad, Mut m, Mut v, In scale, float lr, float beta1, float beta2, float eps, float decay,
           float correction1, float correction2, int64_t seed) {
  if (m.dtype != v.dtype) throw Error("bad-argument", std::string("adamw: m is ") + name(m.dtype) + " and v is " + name(v.dtype) + "; both must be the same.");
  const Adam a{lr, beta1, beta2, eps, decay, 1 / correction1, 1 / correction2, *scale.as<float>(), static_cast<uint64_t>(seed)};
  dispatch(master.dtype, [&](auto p) {
    dispatch(grad.dtype, m.dtype, [&](auto g, auto s) {
      using P = decltype(p);
      using G = decltype(g);
      using S = decltype(s);
      blocks(master.size(), [&](int64_t begin, int64_t end) {
        adamwBlock(a, master.as<P>(), copy ? copy.as<bf16>() : nullptr, grad.as<G>(), m.as<S>(), v.as<S>(), begin, end);
      });
    });
  });
}

void sum_squares(Acc sum, In x) {
  if (!sum) return;
  dispatch(x.dtype, [&](auto t) {
    using T = decltype(t);
    addTo(sum, sumOfBlocks(x.size(), [&](int64_t begin, int64_t end) { return products(x.as<T>(), x.as<T>(), begin, end); }));
  });
}

void dot(Acc sum, In a, In b) {
  if (!sum) return;
  addTo(sum, sumOfBlocks(a.size(), [&](int64_t begin, int64_t end) { return products(a.as<float>(), b.as<float>(), begin, end); }));
}

void clip_scale(Out scale, Out norm, In sum, float max_norm) {
  const double length = std::sqrt(*sum.as<double>());
  *norm.as<float>() = static_cast<float>(length);
  const double factor = max_norm > 0 ? max_norm / (length + 1e-6) : 1;
  *scale.as<float>() = static_cast<float>(factor < 1 ? factor : 1);
}

void lerp(Mut y, In x, float t) {
  dispatch(y.dtype, [&](auto a) {
    dispatch(x.dtype, [&](auto b) {
      using A = decltype(a);
      using B = decltype(b);
      blocks(y.size(), [&](int64_t begin, int64_t end) {
        A* to = y.as<A>() + begin;
        map(to, end - begin, [t](vec old, vec next) { return old + t * (next - old); }, static_cast<const A*>(to), x.as<B>() + begin);
      });
    });
  });
}

}  // namespace moe::MOE_ISA
