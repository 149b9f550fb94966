// adamw        p -= lr*decay*p;  m = b1*m + (1-b1)*g;  v = b2*v + (1-b2)*g^2;  p -= lr (m/c1) / (sqrt(v/c2) + eps),
//              g = scale[0] * grad                                            Loshchilov & Hutter, arXiv:1711.05101
//              a bf16 master is rounded stochastically (kernels/moments.h), so that steps below its precision count on average
// sum_squares, dot    sums in f64
// clip_scale   norm = sqrt(sum), scale = min(1, max/(norm + 1e-6)); NaN, which forbids the update, unless norm and losses are finite
// lerp         y += t*(x - y)
// stack        y_i = x_i, scalars
//
// How it runs and what bounds it: memory; 28 bytes a parameter with f32 moments. All parameters of one type go in one launch
// (segments.cuh). Learning rate, bias corrections, the step's number and the clip factor are read on the device, so the host never
// waits for the norm, and a recorded step updates too. Sums: fixed tiles of each tensor, one f64 each, then one block adds them in
// order.
#include "adam.cuh"

namespace moe::cuda {

namespace {

constexpr int kThreads = 256;

template <class P, class G, class S> struct Parameter {
  P* p;
  bf16* copy;
  const G* grad;
  S *m, *v;
  int64_t size;
  float decay;
  int place;
  bool wide;
};

template <class P, class G, class S> struct Update {
  const Parameter<P, G, S>& q;
  Adam a;
  float scale;
  template <int n> __device__ __forceinline__ void run(int64_t at) const {
    Floats<n> x = load<n>(q.p + at), first = load<n>(q.m + at), second = load<n>(q.v + at);
    const Floats<n> g = load<n>(q.grad + at);
#pragma unroll
    for (int i = 0; i < n; i++) update(a, x.at[i], g.at[i] * scale, first.at[i], second.at[i]);
    storeMaster<n>(a, q.p, at, x);
    store<n>(q.m + at, first);
    store<n>(q.v + at, second);
    if (q.copy) store<n>(q.copy + at, x);
  }
};

template <class P, class G, class S>
__global__ void __launch_bounds__(kThreads, 4) adamKernel(const __grid_constant__ Segments<Parameter<P, G, S>> all, Step step) {
  if (!step.allowed()) return;
  const int i = segmentOf(all, blockIdx.x);
  const Parameter<P, G, S>& q = all.at[i];
  overTile<4>(blockIdx.x - all.first[i], q.size, q.wide, Update<P, G, S>{q, step.of(q.place, q.decay), *step.scale});
}

/// Two tensors whose product is summed, and where a block's sum goes.
template <class T> struct Product {
  const T *a, *b;
  int64_t size;
  double* parts;
};

/// parts[tile] = sum over its elements of a*b.
template <class T> __global__ void __launch_bounds__(kThreads) productSums(const __grid_constant__ Segments<Product<T>> all) {
  double* reduce = sharedMemory<double>();
  const int segment = segmentOf(all, blockIdx.x);
  const Product<T>& q = all.at[segment];
  const int64_t tile = blockIdx.x - all.first[segment], begin = tile * kTile, end = least(q.size, begin + kTile);
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) sum += static_cast<double>(widen(q.a[i])) * widen(q.b[i]);
  sum = blockSum(sum, reduce);
  if (threadIdx.x == 0) q.parts[tile] = sum;
}

__global__ void __launch_bounds__(kThreads) addParts(double* to, double beta, const double* parts, int64_t count) {
  double* reduce = sharedMemory<double>();
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += parts[i];
  sum = blockSum(sum, reduce);
  if (threadIdx.x == 0) *to = beta != 0 ? *to + sum : sum;
}

constexpr size_t kReduce = kThreads / kLanes * sizeof(double);

/// sum = beta * sum + that of all a[i]*b[i]: a part a tile, then the parts in order.
void sumOfProducts(const Acc& to, List<In> a, List<In> b) {
  int64_t count = 0;
  for (const In& x : a) count += divideUp(x.size(), int64_t{kTile});
  double* const parts = machine::scratch<double>(0, most(count, int64_t{1}));
  double* next = parts;
  forFloats([&](auto t, DType dtype) {
    using T = decltype(t);
    auto batches = batchesOf<Product<T>>([](const auto& all, unsigned grid) { launch(productSums<T>, grid, kThreads, kReduce, all); });
    for (int64_t i = 0; i < a.count; i++) {
      if (a[i].dtype != dtype) continue;
      const int64_t tiles = divideUp(a[i].size(), int64_t{kTile});
      batches.add({a[i].as<T>(), b[i].as<T>(), a[i].size(), next}, tiles);
      next += tiles;
    }
    batches.flush();
  });
  launch(addParts, 1, kThreads, kReduce, to.as<double>(), static_cast<double>(to.beta), static_cast<const double*>(parts), count);
}

__device__ __forceinline__ bool finite(double x) { return x - x == 0; }

__global__ void clip(float* scale, float* norm, const double* sum, const double* losses, int64_t count, float most) {
  if (threadIdx.x != 0) return;
  const double length = sqrt(*sum);
  const double factor = most > 0 ? most / (length + 1e-6) : 1.0;
  const float rounded = static_cast<float>(length);
  bool allowed = finite(rounded);
  for (int64_t i = 0; i < count; i++) allowed &= finite(losses[i]);
  *norm = rounded;
  *scale = allowed ? static_cast<float>(factor < 1 ? factor : 1.0) : __uint_as_float(0x7fc00000);
}

template <class Y, class X> struct Pair {
  Y* y;
  const X* x;
  int64_t size;
  bool wide;
};
template <class Y, class X> struct Lerp {
  const Pair<Y, X>& q;
  float t;
  template <int n> __device__ __forceinline__ void run(int64_t at) const {
    Floats<n> y = load<n>(q.y + at);
    const Floats<n> x = load<n>(q.x + at);
#pragma unroll
    for (int i = 0; i < n; i++) y.at[i] += t * (x.at[i] - y.at[i]);
    store<n>(q.y + at, y);
  }
};
template <class Y, class X> __global__ void __launch_bounds__(kThreads) lerpKernel(const __grid_constant__ Segments<Pair<Y, X>> all, float t) {
  const int i = segmentOf(all, blockIdx.x);
  const Pair<Y, X>& q = all.at[i];
  overTile<kVec>(blockIdx.x - all.first[i], q.size, q.wide, Lerp<Y, X>{q, t});
}

struct Scalar {
  const void* x;
  double* y;
  bool wide;  ///< f64
};
__global__ void stackKernel(const __grid_constant__ Segments<Scalar> all) {
  if (threadIdx.x != 0) return;
  const Scalar& q = all.at[blockIdx.x];
  *q.y = q.wide ? *static_cast<const double*>(q.x) : static_cast<double>(*static_cast<const float*>(q.x));
}

}  // namespace

void adamw(List<Mut> master, List<MaybeOut> copy, List<MaybeIn> grad, List<Mut> m, List<Mut> v, List<float> decay, In scale, In rates,
           float beta1, float beta2, float eps) {
  for (int64_t i = 0; i < m.count; i++)
    if (m[i].dtype != v[i].dtype) throw Error("bad-argument", std::string("adamw: m is ") + name(m[i].dtype) + " and v is " + name(v[i].dtype) + "; both must be the same.");
  const Step step{scale.as<float>(), rates.as<double>(), beta1, beta2, eps, static_cast<uint64_t>(master.count)};
  forFloats([&](auto tp, DType kindP) {
    forFloats([&](auto tg, DType kindG) {
      forFloats([&](auto ts, DType kindS) {
        using P = decltype(tp);
        using G = decltype(tg);
        using S = decltype(ts);
        auto batches = batchesOf<Parameter<P, G, S>>([&](const auto& all, unsigned grid) { launch(adamKernel<P, G, S>, grid, kThreads, 0, all, step); });
        for (int64_t i = 0; i < master.count; i++) {
          if (!grad[i] || master[i].dtype != kindP || grad[i].dtype != kindG || m[i].dtype != kindS) continue;
          auto* const to = static_cast<bf16*>(copy[i].data);
          const bool wide = aligned(master[i].as<P>(), to, grad[i].as<G>(), m[i].as<S>(), v[i].as<S>());
          batches.add({master[i].as<P>(), to, grad[i].as<G>(), m[i].as<S>(), v[i].as<S>(), master[i].size(), decay[i], static_cast<int>(i), wide},
                      divideUp(master[i].size(), int64_t{kTile}));
        }
        batches.flush();
      });
    });
  });
}

void sum_squares(Acc sum, List<In> x) {
  if (sum) sumOfProducts(sum, x, x);
}

void dot(Acc sum, In a, In b) {
  if (sum) sumOfProducts(sum, {&a, 1}, {&b, 1});
}

void clip_scale(Out scale, Out norm, In sum, MaybeIn losses, float max_norm) {
  launch(clip, 1, kLanes, 0, scale.as<float>(), norm.as<float>(), sum.as<double>(), losses.as<double>(), losses ? losses.size() : 0, max_norm);
}

void lerp(List<Mut> y, List<In> x, float t) {
  forFloats([&](auto ty, DType kindY) {
    forFloats([&](auto tx, DType kindX) {
      using Y = decltype(ty);
      using X = decltype(tx);
      auto batches = batchesOf<Pair<Y, X>>([&](const auto& all, unsigned grid) { launch(lerpKernel<Y, X>, grid, kThreads, 0, all, t); });
      for (int64_t i = 0; i < y.count; i++)
        if (y[i].dtype == kindY && x[i].dtype == kindX)
          batches.add({y[i].as<Y>(), x[i].as<X>(), y[i].size(), aligned(y[i].as<Y>(), x[i].as<X>())}, divideUp(y[i].size(), int64_t{kTile}));
      batches.flush();
    });
  });
}

void stack(Out y, List<In> x) {
  if (y.size() != x.count) throw Error("bad-argument", "stack: y has " + std::to_string(y.size()) + " places for " + std::to_string(x.count) + " numbers.");
  for (const In& one : x)
    if (one.dtype != DType::f32 && one.dtype != DType::f64) throw Error("bad-argument", std::string("stack: x is ") + name(one.dtype) + ", but f32 or f64 is expected.");
  auto batches = batchesOf<Scalar>([](const auto& all, unsigned grid) { launch(stackKernel, grid, kLanes, 0, all); });
  for (int64_t i = 0; i < x.count; i++) batches.add({x[i].data, y.as<double>() + i, x[i].dtype == DType::f64});
  batches.flush();
}

}  // namespace moe::cuda
