// AdamW, the gradient's norm, and averages: passes over memory.
//
//   adamw   p -= lr*decay*p;  m = b1*m + (1-b1)*g;  v = b2*v + (1-b2)*g^2
//           p -= lr * (m/c1) / (sqrt(v/c2) + eps),  g = scale[0] * grad        (Loshchilov & Hutter, arXiv:1711.05101)
//           a bf16 master is rounded stochastically (moments.h), so that steps below its precision count on average
//   clip    norm = sqrt(sum), scale = min(1, max/(norm + 1e-6)); NaN, which forbids the update, unless norm and losses are finite
//   lerp    y += t*(x - y)
//   stack   y_i = x_i, scalars
//
// How it runs: blocks of kBlock elements of all parameters are the tasks of one loop; each reads and writes every stream once, so
// memory bandwidth is the bound (28 bytes a parameter in f32). Sums are taken per block in f64 and added in the order of the blocks.
#include "adam.h"
#include "segments.h"

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

/// kLanes elements as doubles; of bf16 the even ones, then the odd ones.
struct Wide {
  dvec a, b;
};
Wide loadWide(const float* p) {
  halfvec x[2];
  memcpy(x, p, sizeof x);
  return {doubles(x[0]), doubles(x[1])};
}
Wide loadWide(const bf16* p) {
  typedef uint32_t words __attribute__((vector_size(kLanes * 2)));
  words x;
  memcpy(&x, p, sizeof x);
  return {doubles(reinterpret_cast<halfvec>(x << 16)), doubles(reinterpret_cast<halfvec>(x & 0xffff0000))};
}
Wide operator*(Wide x, Wide y) { return {x.a * y.a, x.b * y.b}; }

double scalar(float x) { return static_cast<double>(x); }
double scalar(bf16 x) { return static_cast<double>(widen(x)); }

/// f64 sum of f(x[i]...) over n elements, f taking a Wide or a double an operand: kStrands sums side by side, so that additions
/// do not wait for each other, in an order that n alone decides.
template <class F, class... X> double sumOf(int64_t n, F&& f, const X*... x) {
  constexpr int kStrands = 32, kPieces = kStrands / kLanes;
  Wide sums[kPieces] = {};
  int64_t i = 0;
  for (; i + kStrands <= n; i += kStrands)
#pragma GCC unroll 8
    for (int v = 0; v < kPieces; v++) {
      const Wide product = f(loadWide(x + i + v * kLanes)...);
      sums[v].a += product.a;
      sums[v].b += product.b;
    }
  double strand[kStrands];
  memcpy(strand, sums, sizeof sums);
  for (; i < n; i++) strand[0] += f(scalar(x[i])...);
  for (int left = kStrands / 2; left > 0; left /= 2)
    for (int j = 0; j < left; j++) strand[j] += strand[j + left];
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

void adamw(List<Mut> master, List<MaybeOut> copy, List<MaybeIn> grad, List<Mut> m, List<Mut> v, List<float> decay, In scale, In rates,
           float beta1, float beta2, float eps) {
  for (int64_t i = 0; i < m.count; i++)
    if (m[i].dtype != v[i].dtype) throw Error("bad-argument", std::string("adamw: m is ") + name(m[i].dtype) + " and v is " + name(v[i].dtype) + "; both must be the same.");
  const Step step(scale, rates, beta1, beta2, eps);
  if (!step.allowed()) return;
  const auto size = [&](int64_t i) { return grad[i] ? master[i].size() : 0; };
  overSegments(segmentTable(master.count), master.count, kBlock, size, [&](int64_t i, int64_t begin, int64_t end, int64_t) {
    const Adam a = step.of(i, master.count, decay[i]);
    dispatch(master[i].dtype, [&](auto p) {
      dispatch(grad[i].dtype, m[i].dtype, [&](auto g, auto s) {
        using P = decltype(p);
        using G = decltype(g);
        using S = decltype(s);
        adamwBlock(a, master[i].as<P>(), copy[i] ? copy[i].as<bf16>() : nullptr, grad[i].as<G>(), m[i].as<S>(), v[i].as<S>(), begin, end);
      });
    });
  });
}

void sum_squares(Acc sum, List<In> x) {
  if (!sum) return;
  int64_t tasks = 0;
  for (const In& one : x) tasks += divideUp(one.size(), kBlock);
  int64_t* first = segmentTable(x.count, tasks);
  auto* partial = reinterpret_cast<double*>(first + x.count + 1);
  overSegments(first, x.count, kBlock, [&](int64_t i) { return x[i].size(); }, [&](int64_t i, int64_t begin, int64_t end, int64_t task) {
    dispatch(x[i].dtype, [&](auto t) {
      using T = decltype(t);
      partial[task] = sumOf(end - begin, [](auto v) { return v * v; }, x[i].as<T>() + begin);
    });
  });
  double total = sum.beta == 0 ? 0 : *sum.as<double>();
  for (int64_t i = 0; i < x.count; i++) {  // each tensor's own sum first: the order that a call a tensor would have
    double own = 0;
    for (int64_t task = first[i]; task < first[i + 1]; task++) own += partial[task];
    total += own;
  }
  *sum.as<double>() = total;
}

void dot(Acc sum, In a, In b) {
  if (!sum) return;
  addTo(sum, sumOfBlocks(a.size(), [&](int64_t begin, int64_t end) { return sumOf(end - begin, [](auto p, auto q) { return p * q; }, a.as<float>() + begin, b.as<float>() + begin); }));
}

void clip_scale(Out scale, Out norm, In sum, MaybeIn losses, float max_norm) {
  const double length = std::sqrt(*sum.as<double>());
  *norm.as<float>() = static_cast<float>(length);
  const double factor = max_norm > 0 ? max_norm / (length + 1e-6) : 1;
  *scale.as<float>() = static_cast<float>(factor < 1 ? factor : 1);
  bool finite = std::isfinite(*norm.as<float>());
  for (int64_t i = 0; losses && i < losses.size(); i++) finite &= std::isfinite(losses.as<double>()[i]);
  if (!finite) *scale.as<float>() = kForbidden;
}

void lerp(List<Mut> y, List<In> x, float t) {
  overSegments(segmentTable(y.count), y.count, kBlock, [&](int64_t i) { return y[i].size(); }, [&](int64_t i, int64_t begin, int64_t end, int64_t) {
    dispatch(y[i].dtype, [&](auto a) {
      dispatch(x[i].dtype, [&](auto b) {
        using A = decltype(a);
        using B = decltype(b);
        A* to = y[i].as<A>() + begin;
        map(to, end - begin, [t](vec old, vec next) { return old + t * (next - old); }, static_cast<const A*>(to), x[i].as<B>() + begin);
      });
    });
  });
}

void stack(Out y, List<In> x) {
  if (y.size() != x.count) throw Error("bad-argument", "stack: y has " + std::to_string(y.size()) + " places for " + std::to_string(x.count) + " numbers.");
  for (const In& one : x)
    if (one.dtype != DType::f32 && one.dtype != DType::f64) throw Error("bad-argument", std::string("stack: x is ") + name(one.dtype) + ", but f32 or f64 is expected.");
  for (int64_t i = 0; i < x.count; i++) y.as<double>()[i] = x[i].dtype == DType::f64 ? *x[i].as<double>() : static_cast<double>(*x[i].as<float>());
}

}  // namespace moe::MOE_ISA
