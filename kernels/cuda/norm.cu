// rmsnorm    y = x r w,             r = 1 / sqrt(mean(x^2) + eps)
//            dx = r (dy w) - x r^3 mean(dy w x)                       dw = sum over rows of dy x r
// layernorm  y = (x - m) r w + b,   r = 1 / sqrt(mean((x - m)^2) + eps),   h = (x - m) r
//            dx = r (dy w - mean(dy w) - h mean(dy w h))              dw = sum of dy h, db = sum of dy
//
// How it runs and what bounds it: memory. Rows whose packs of 8 elements can be read whole stay in a block's registers from their
// one reading on (norm.cuh); odd rows and those beyond 8192 channels are read again for every step. Backward: a block walks a slab
// of rows and keeps its part of dw (and db), each column owned by one thread; a second kernel adds the slabs in order. Slabs are
// cut by shape only, so sums do not depend on the GPU.
#include <initializer_list>
#include <type_traits>

#include "norm.cuh"
#include "slabs.cuh"

namespace moe::cuda {

namespace {

using namespace norms;

// -- rows of any kind ---------------------------------------------------------------------------------------------------------

constexpr int kThreads = 256, kMostSlabs = 512, kSlabRows = 16;

/// calls f(col) for this thread's columns of a row
template <class F> __device__ __forceinline__ void columns(int64_t cols, F f) {
  for (int64_t col = threadIdx.x; col < cols; col += kThreads) f(col);
}

template <class T, class W> __global__ void __launch_bounds__(kThreads)
forwardAny(Rows<T> y, float* mean, float* rstd, Rows<const T> x, const W* weight, Bias bias, int64_t cols, float eps) {
  float* reduce = sharedMemory<float>();
  const int64_t row = blockIdx.x;
  float m = 0, squares = 0;
  if (mean) {
    columns(cols, [&](int64_t col) { m += widen(*x.at(row, col)); });
    m = blockSum(m, reduce) / static_cast<float>(cols);
  }
  columns(cols, [&](int64_t col) {
    const float h = widen(*x.at(row, col)) - m;
    squares = fmaf(h, h, squares);
  });
  const float r = rsqrtf(blockSum(squares, reduce) / static_cast<float>(cols) + eps);
  if (threadIdx.x == 0) {
    rstd[row] = r;
    if (mean) mean[row] = m;
  }
  columns(cols, [&](int64_t col) {
    const float b = !bias.data ? 0.f : bias.wide ? static_cast<const float*>(bias.data)[col] : widen(static_cast<const bf16*>(bias.data)[col]);
    put(y.at(row, col), fmaf((widen(*x.at(row, col)) - m) * r, widen(weight[col]), b));
  });
}

template <class T, class W> __global__ void __launch_bounds__(kThreads)
backwardAny(Rows<T> dx, float beta, Rows<const T> dy, Rows<const T> x, const W* weight, const float* mean, const float* rstd, Slab slab, int64_t cols) {
  float* reduce = sharedMemory<float>();
  float *dw = reduce + kLanes, *db = dw + cols;
  if (slab.parts)
    columns(cols, [&](int64_t col) {
      dw[col] = 0;
      if (slab.bias) db[col] = 0;
    });
  const int64_t end = least(slab.rows, (blockIdx.x + 1) * slab.each);
  for (int64_t row = blockIdx.x * slab.each; row < end; row++) {
    const float r = rstd[row], m = mean ? mean[row] : 0.f;
    float sum = 0, dot = 0;
    columns(cols, [&](int64_t col) {
      const float d = widen(*dy.at(row, col)), h = (widen(*x.at(row, col)) - m) * r, g = d * widen(weight[col]);
      sum += g;
      dot = fmaf(g, h, dot);
      if (!slab.parts) return;
      dw[col] = fmaf(d, h, dw[col]);
      if (slab.bias) db[col] += d;
    });
    if (!dx) continue;
    dot = blockSum(dot, reduce) / static_cast<float>(cols);
    sum = mean ? blockSum(sum, reduce) / static_cast<float>(cols) : 0.f;
    columns(cols, [&](int64_t col) {
      accumulate(dx.at(row, col), r * (widen(*dy.at(row, col)) * widen(weight[col]) - sum - (widen(*x.at(row, col)) - m) * r * dot), beta);
    });
  }
  if (!slab.parts) return;
  float* to = slab.parts + blockIdx.x * (slab.bias ? 2 : 1) * cols;
  columns(cols, [&](int64_t col) {
    to[col] = dw[col];
    if (slab.bias) to[cols + col] = db[col];
  });
}

// -- launching ----------------------------------------------------------------------------------------------------------------

constexpr int64_t kMostHeld = 4 * kMost<4> * kVec;
constexpr size_t kReduceBytes = kLanes * sizeof(float);

/// Whether whole packs fit the rows, which are no wider than a block's registers.
bool held(int64_t cols, std::initializer_list<const View*> rows, std::initializer_list<const View*> vectors) {
  bool ok = cols % kVec == 0 && cols <= kMostHeld;
  for (const View* v : rows) ok &= !v->data || (reinterpret_cast<uintptr_t>(v->data) % 16 == 0 && v->stride[0] % kVec == 0);
  for (const View* v : vectors) ok &= reinterpret_cast<uintptr_t>(v->data) % 16 == 0;
  return ok;
}

/// f(packs of a thread as a constant, threads of a block).
template <class F> void byPacks(int64_t cols, F f) {
  const auto run = [&](auto packs) { f(packs, static_cast<int>(divideUp(cols, int64_t{kVec} * packs() * kLanes)) * kLanes); };
  if (cols <= kMost<1> * kVec) run(std::integral_constant<int, 1>{});
  else if (cols <= 2 * kMost<2> * kVec) run(std::integral_constant<int, 2>{});
  else run(std::integral_constant<int, 4>{});
}

template <bool centred, class T, class W> void forward(const Out& y, float* mean, const Out& rstd, const In& x, const In& weight, const View* bias, float eps) {
  const int64_t rows = x.shape[0], cols = x.shape[1];
  const Bias b{bias ? bias->data : nullptr, bias && bias->dtype == DType::f32};
  if (!held(cols, {&y, &x}, {&weight, bias ? bias : &weight}))
    return launch(forwardAny<T, W>, blocks(rows), kThreads, kReduceBytes, rowsOf<T>(y), mean, rstd.as<float>(), rowsOf<const T>(x), weight.as<W>(), b, cols, eps);
  byPacks(cols, [&](auto packs, int threads) {
    constexpr int kRows = 4 / packs();
    launch(forwardRows<centred, kRows, packs(), T, W>, blocks(divideUp(rows, int64_t{kRows})), threads, kSumBytes, rowsOf<T>(y), mean, rstd.as<float>(), rowsOf<const T>(x),
           weight.as<W>(), b, rows, cols, eps);
  });
}

struct Norm {
  Acc dx, dweight, dbias;
  In dy, x, weight;
  const float *mean, *rstd;
};

template <bool centred, class T, class W> void backward(const Norm& a) {
  const int64_t rows = a.x.shape[0], cols = a.x.shape[1];
  const bool sums = a.dweight || a.dbias, wide = held(cols, {&a.dy, &a.x, &a.dx}, {&a.weight});
  if (sums && cols > kMostHeld) throw Error("bad-argument", "a norm over more than 8192 channels has no gradient of its weight on this device.");
  const int64_t each = most(int64_t{kSlabRows}, divideUp(rows, int64_t{cols > kMost<1> * kVec ? kMostSlabs / 2 : kMostSlabs})), stride = (a.dbias ? 2 : 1) * cols;
  const int slabs = static_cast<int>(divideUp(rows, each));
  const Slab slab{rows, each, sums ? machine::scratch<float>(0, most(1, slabs) * stride) : nullptr, static_cast<bool>(a.dbias)};
  const auto run = [&](auto kernel, int threads, size_t shared) {
    launch(kernel, blocks(slabs), threads, shared, rowsOf<T>(a.dx), a.dx.beta, rowsOf<const T>(a.dy), rowsOf<const T>(a.x), a.weight.as<W>(), a.mean, a.rstd, slab, cols);
  };
  if (!wide) run(backwardAny<T, W>, kThreads, kReduceBytes + (sums ? stride * sizeof(float) : 0));
  else byPacks(cols, [&](auto packs, int threads) { run(backwardRows<centred, packs() == 1 && !centred ? 2 : 1, packs(), T, W>, threads, kSumBytes); });
  if (a.dweight) addSlabs(a.dweight.as<float>(), a.dweight.beta, slab.parts, slabs, cols, stride);
  if (a.dbias) addSlabs(a.dbias.as<float>(), a.dbias.beta, slab.parts + cols, slabs, cols, stride);
}

/// f(a value of x's type, a value of the weight's).
template <class F> void dispatchBoth(const In& x, const In& weight, F f) {
  dispatch(x.dtype, [&](auto t) { dispatch(weight.dtype, [&](auto w) { f(t, w); }); });
}

}  // namespace

void rmsnorm_forward(Out y, Out rstd, In x, In weight, float eps) {
  dispatchBoth(x, weight, [&](auto t, auto w) { forward<false, decltype(t), decltype(w)>(y, nullptr, rstd, x, weight, nullptr, eps); });
}

void rmsnorm_backward(Acc dx, Acc dweight, In dy, In x, In weight, In rstd) {
  dispatchBoth(x, weight, [&](auto t, auto w) { backward<false, decltype(t), decltype(w)>({dx, dweight, {}, dy, x, weight, nullptr, rstd.as<float>()}); });
}

void layernorm_forward(Out y, Out mean, Out rstd, In x, In weight, MaybeIn bias, float eps) {
  dispatchBoth(x, weight, [&](auto t, auto w) { forward<true, decltype(t), decltype(w)>(y, mean.as<float>(), rstd, x, weight, bias ? &bias : nullptr, eps); });
}

void layernorm_backward(Acc dx, Acc dweight, Acc dbias, In dy, In x, In weight, In mean, In rstd) {
  dispatchBoth(x, weight, [&](auto t, auto w) { backward<true, decltype(t), decltype(w)>({dx, dweight, dbias, dy, x, weight, mean.as<float>(), rstd.as<float>()}); });
}

}  // namespace moe::cuda
