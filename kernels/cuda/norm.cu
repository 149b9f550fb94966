// rmsnorm    y = x r w,             r = 1 / sqrt(mean(x^2) + eps)
//            dx = r (dy w) - x r^3 mean(dy w x)                       dw = sum over rows of dy x r
// layernorm  y = (x - m) r w + b,   r = 1 / sqrt(mean((x - m)^2) + eps),   h = (x - m) r
//            dx = r (dy w - mean(dy w) - h mean(dy w h))              dw = sum of dy h, db = sum of dy
//
// How it runs and what bounds it: memory. Forward: one block a row; the second pass over the row hits the cache. Backward: a
// block walks a slab of rows and keeps its part of dw (and db) in shared memory, each column owned by one thread; a second
// kernel adds the slabs in order. Slabs are cut by shape only, so sums do not depend on the GPU.
#include "slabs.cuh"

namespace moe::cuda {

namespace {

constexpr int kThreads = 256, kMostSlabs = 512, kSlabRows = 32;
constexpr int64_t kMostSharedCols = 8192;  // columns whose sums one block keeps in shared memory

/// calls f(col) for this thread's packs of a row
template <int n, class F> __device__ __forceinline__ void columns(int64_t cols, F f) {
  for (int64_t col = int64_t{threadIdx.x} * n; col < cols; col += int64_t{kThreads} * n) f(col);
}

template <int n, class T, class W> __global__ void __launch_bounds__(kThreads)
rmsForward(Rows<T> y, float* rstd, Rows<const T> x, const W* weight, int64_t cols, float eps) {
  float* reduce = sharedMemory<float>();
  const int64_t row = blockIdx.x;
  float sum = 0;
  columns<n>(cols, [&](int64_t col) {
    const Floats<n> v = load<n>(x.at(row, col));
#pragma unroll
    for (int i = 0; i < n; i++) sum += v.at[i] * v.at[i];
  });
  const float r = rsqrtf(blockSum(sum, reduce) / static_cast<float>(cols) + eps);
  if (threadIdx.x == 0) rstd[row] = r;
  columns<n>(cols, [&](int64_t col) {
    Floats<n> v = load<n>(x.at(row, col));
    const Floats<n> w = load<n>(weight + col);
#pragma unroll
    for (int i = 0; i < n; i++) v.at[i] = v.at[i] * r * w.at[i];
    store<n>(y.at(row, col), v);
  });
}

template <int n, class T, class W> __global__ void __launch_bounds__(kThreads)
layerForward(Rows<T> y, float* mean, float* rstd, Rows<const T> x, const W* weight, const void* bias, bool biasWide, int64_t cols, float eps) {
  float* reduce = sharedMemory<float>();
  const int64_t row = blockIdx.x;
  float sum = 0;
  columns<n>(cols, [&](int64_t col) {
    const Floats<n> v = load<n>(x.at(row, col));
#pragma unroll
    for (int i = 0; i < n; i++) sum += v.at[i];
  });
  const float m = blockSum(sum, reduce) / static_cast<float>(cols);
  float squares = 0;
  columns<n>(cols, [&](int64_t col) {
    const Floats<n> v = load<n>(x.at(row, col));
#pragma unroll
    for (int i = 0; i < n; i++) squares += (v.at[i] - m) * (v.at[i] - m);
  });
  const float r = rsqrtf(blockSum(squares, reduce) / static_cast<float>(cols) + eps);
  if (threadIdx.x == 0) {
    mean[row] = m;
    rstd[row] = r;
  }
  columns<n>(cols, [&](int64_t col) {
    Floats<n> v = load<n>(x.at(row, col));
    const Floats<n> w = load<n>(weight + col);
#pragma unroll
    for (int i = 0; i < n; i++) {
      const float b = !bias ? 0.f : biasWide ? static_cast<const float*>(bias)[col + i] : widen(static_cast<const bf16*>(bias)[col + i]);
      v.at[i] = (v.at[i] - m) * r * w.at[i] + b;
    }
    store<n>(y.at(row, col), v);
  });
}

struct Slab {
  int64_t rows, each;  // all rows, rows of a block
};

/// Both norms: rmsnorm is the case without mean. dweight and dbias sums go to parts[slab][2][cols].
template <int n, class T, class W> __global__ void __launch_bounds__(kThreads)
normBackward(Rows<T> dx, float beta, float* parts, bool wantBias, Rows<const T> dy, Rows<const T> x, const W* weight, const float* mean, const float* rstd, Slab slab, int64_t cols) {
  float* reduce = sharedMemory<float>();
  float* dw = reduce + kLanes;
  float* db = dw + cols;
  if (parts)
    columns<n>(cols, [&](int64_t col) {
      for (int i = 0; i < n; i++) {
        dw[col + i] = 0;
        if (wantBias) db[col + i] = 0;
      }
    });
  const int64_t end = least(slab.rows, (blockIdx.x + 1) * slab.each);
  for (int64_t row = blockIdx.x * slab.each; row < end; row++) {
    const float r = rstd[row], m = mean ? mean[row] : 0.f;
    float sum = 0, dot = 0;
    columns<n>(cols, [&](int64_t col) {
      const Floats<n> d = load<n>(dy.at(row, col)), v = load<n>(x.at(row, col)), w = load<n>(weight + col);
#pragma unroll
      for (int i = 0; i < n; i++) {
        const float h = (v.at[i] - m) * r, g = d.at[i] * w.at[i];
        sum += g;
        dot += g * h;
        if (parts) {
          dw[col + i] += d.at[i] * h;
          if (wantBias) db[col + i] += d.at[i];
        }
      }
    });
    if (!dx) continue;
    dot = blockSum(dot, reduce) / static_cast<float>(cols);
    sum = mean ? blockSum(sum, reduce) / static_cast<float>(cols) : 0.f;
    columns<n>(cols, [&](int64_t col) {
      Floats<n> d = load<n>(dy.at(row, col));
      const Floats<n> v = load<n>(x.at(row, col)), w = load<n>(weight + col);
#pragma unroll
      for (int i = 0; i < n; i++) d.at[i] = r * (d.at[i] * w.at[i] - sum - (v.at[i] - m) * r * dot);
      accumulate<n>(dx.at(row, col), d, beta);
    });
  }
  if (parts)
    columns<n>(cols, [&](int64_t col) {
      for (int i = 0; i < n; i++) {
        parts[blockIdx.x * 2 * cols + col + i] = dw[col + i];
        if (wantBias) parts[(blockIdx.x * 2 + 1) * cols + col + i] = db[col + i];
      }
    });
}

struct Norm {
  Acc dx, dweight, dbias;
  In dy, x, weight;
  const float *mean, *rstd;
};

template <class T, class W> void backward(const Norm& a) {
  const int64_t rows = a.x.shape[0], cols = a.x.shape[1];
  const bool sums = a.dweight || a.dbias;
  if (sums && cols > kMostSharedCols) throw Error("bad-argument", "a norm over more than 8192 channels has no gradient of its weight on this device.");
  const int64_t each = most(int64_t{kSlabRows}, divideUp(rows, int64_t{kMostSlabs}));
  const int slabs = static_cast<int>(divideUp(rows, each));
  float* parts = sums ? machine::scratch<float>(0, most(1, slabs) * 2 * cols) : nullptr;
  Plane p = plane(a.dy, a.x, a.dx);
  p.wide = p.wide && cols % kVec == 0 && reinterpret_cast<uintptr_t>(a.weight.data) % 16 == 0;
  const size_t shared = (kLanes + (sums ? cols * (a.dbias ? 2 : 1) : 0)) * sizeof(float);
  const auto run = [&](auto kernel) {
    launch(kernel, blocks(slabs), kThreads, shared, rowsOf<T>(a.dx), a.dx.beta, parts, static_cast<bool>(a.dbias), rowsOf<const T>(a.dy), rowsOf<const T>(a.x),
           a.weight.as<W>(), a.mean, a.rstd, Slab{rows, each}, cols);
  };
  if (p.wide) run(normBackward<kVec, T, W>);
  else run(normBackward<1, T, W>);
  if (a.dweight) addSlabs(a.dweight.as<float>(), a.dweight.beta, parts, slabs, cols, 2 * cols);
  if (a.dbias) addSlabs(a.dbias.as<float>(), a.dbias.beta, parts + cols, slabs, cols, 2 * cols);
}

bool wideRows(const View& y, const View& x, const View& weight) {
  return plane(y, x).wide && x.shape[1] % kVec == 0 && reinterpret_cast<uintptr_t>(weight.data) % 16 == 0;
}

constexpr size_t kReduceBytes = kLanes * sizeof(float);

}  // namespace

void rmsnorm_forward(Out y, Out rstd, In x, In weight, float eps) {
  dispatch(x.dtype, [&](auto t) {
    dispatch(weight.dtype, [&](auto tw) {
      using T = decltype(t);
      using W = decltype(tw);
      const auto run = [&](auto kernel) {
        launch(kernel, blocks(x.shape[0]), kThreads, kReduceBytes, rowsOf<T>(y), rstd.as<float>(), rowsOf<const T>(x), weight.as<W>(), x.shape[1], eps);
      };
      if (wideRows(y, x, weight)) run(rmsForward<kVec, T, W>);
      else run(rmsForward<1, T, W>);
    });
  });
}

void rmsnorm_backward(Acc dx, Acc dweight, In dy, In x, In weight, In rstd) {
  dispatch(x.dtype, [&](auto t) {
    dispatch(weight.dtype, [&](auto tw) { backward<decltype(t), decltype(tw)>({dx, dweight, {}, dy, x, weight, nullptr, rstd.as<float>()}); });
  });
}

void layernorm_forward(Out y, Out mean, Out rstd, In x, In weight, MaybeIn bias, float eps) {
  dispatch(x.dtype, [&](auto t) {
    dispatch(weight.dtype, [&](auto tw) {
      using T = decltype(t);
      using W = decltype(tw);
      const auto run = [&](auto kernel) {
        launch(kernel, blocks(x.shape[0]), kThreads, kReduceBytes, rowsOf<T>(y), mean.as<float>(), rstd.as<float>(), rowsOf<const T>(x), weight.as<W>(),
               static_cast<const void*>(bias.data), bias.dtype == DType::f32, x.shape[1], eps);
      };
      if (wideRows(y, x, weight)) run(layerForward<kVec, T, W>);
      else run(layerForward<1, T, W>);
    });
  });
}

void layernorm_backward(Acc dx, Acc dweight, Acc dbias, In dy, In x, In weight, In mean, In rstd) {
  dispatch(x.dtype, [&](auto t) {
    dispatch(weight.dtype, [&](auto tw) {
      backward<decltype(t), decltype(tw)>({dx, dweight, dbias, dy, x, weight, mean.as<float>(), rstd.as<float>()});
    });
  });
}

}  // namespace moe::cuda
