// adamw        p -= lr*decay*p;  m = b1*m + (1-b1)*g;  v = b2*v + (1-b2)*g^2;  p -= lr (m/c1) / (sqrt(v/c2) + eps),
//              g = scale[0] * grad                                            Loshchilov & Hutter, arXiv:1711.05101
//              a bf16 master is rounded at random (kernels/moments.h), so that steps below its precision count on average
// sum_squares, dot    sums in f64
// clip_scale   norm = sqrt(sum), scale = min(1, max/(norm + 1e-6))
//
// How it runs and what bounds it: memory; 28 bytes a parameter with f32 moments. The clip factor is read on the device, so the
// host never waits for the norm. Sums: fixed blocks of the input, one f64 each, then one block adds them in order.
#include "adam.cuh"

namespace moe::cuda {

namespace {

constexpr int kThreads = 256;

template <class P, class G, class S> struct Update {
  Adam a;
  P* p;
  bf16* copy;
  const G* grad;
  S *m, *v;
  const float* scale;
  template <int n> __device__ void run(int64_t, int64_t at) const {
    Floats<n> x = load<n>(p + at), first = load<n>(m + at), second = load<n>(v + at);
    const Floats<n> g = load<n>(grad + at);
    const float s = *scale;
#pragma unroll
    for (int i = 0; i < n; i++) update(a, x.at[i], g.at[i] * s, first.at[i], second.at[i]);
    storeMaster<n>(a, p, at, x);
    store<n>(m + at, first);
    store<n>(v + at, second);
    if (copy) store<n>(copy + at, x);
  }
};

constexpr int64_t kBlockElements = 16384;

/// parts[block] = sum over its elements of a*b.
template <class T> __global__ void __launch_bounds__(kThreads) productSums(double* parts, const T* a, const T* b, int64_t size) {
  double* reduce = sharedMemory<double>();
  const int64_t begin = blockIdx.x * kBlockElements, end = least(size, begin + kBlockElements);
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) sum += static_cast<double>(widen(a[i])) * widen(b[i]);
  sum = blockSum(sum, reduce);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) addParts(double* to, double beta, const double* parts, int64_t count) {
  double* reduce = sharedMemory<double>();
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += parts[i];
  sum = blockSum(sum, reduce);
  if (threadIdx.x == 0) *to = beta != 0 ? *to + sum : sum;
}

template <class T> void sumOfProducts(const Acc& to, const T* a, const T* b, int64_t size) {
  const int64_t count = divideUp(size, kBlockElements);
  double* parts = machine::scratch<double>(0, most(count, int64_t{1}));
  constexpr size_t kReduce = kThreads / kLanes * sizeof(double);
  launch(productSums<T>, blocks(count), kThreads, kReduce, parts, a, b, size);
  launch(addParts, 1, kThreads, kReduce, to.as<double>(), static_cast<double>(to.beta), parts, count);
}

__global__ void clip(float* scale, float* norm, const double* sum, float most) {
  if (threadIdx.x != 0) return;
  const double length = sqrt(*sum);
  const double factor = most > 0 ? most / (length + 1e-6) : 1.0;
  *norm = static_cast<float>(length);
  *scale = static_cast<float>(factor < 1 ? factor : 1.0);
}

}  // namespace

void adamw(Mut master, MaybeOut copy, In grad, Mut m, Mut v, In scale, float lr, float beta1, float beta2, float eps, float decay,
           float correction1, float correction2, int64_t seed) {
  if (m.dtype != v.dtype) throw Error("bad-argument", std::string("adamw: m is ") + name(m.dtype) + " and v is " + name(v.dtype) + "; both must be the same.");
  const Adam a{lr, beta1, beta2, eps, decay, 1 / correction1, 1 / correction2, static_cast<uint64_t>(seed)};
  dispatch(master.dtype, [&](auto tp) {
    dispatch(grad.dtype, [&](auto tg) {
      dispatch(m.dtype, [&](auto ts) {
        using P = decltype(tp);
        using G = decltype(tg);
        using S = decltype(ts);
        forEach(plane(master, copy, grad, m, v), Update<P, G, S>{a, master.as<P>(), static_cast<bf16*>(copy.data), grad.as<G>(), m.as<S>(), v.as<S>(), scale.as<float>()});
      });
    });
  });
}

void sum_squares(Acc sum, In x) {
  if (!sum) return;
  dispatch(x.dtype, [&](auto t) { sumOfProducts(sum, x.as<decltype(t)>(), x.as<decltype(t)>(), x.size()); });
}

void dot(Acc sum, In a, In b) {
  if (sum) sumOfProducts(sum, a.as<float>(), b.as<float>(), a.size());
}

void clip_scale(Out scale, Out norm, In sum, float max_norm) {
  launch(clip, 1, kLanes, 0, scale.as<float>(), norm.as<float>(), sum.as<double>(), max_norm);
}

}  // namespace moe::cuda
