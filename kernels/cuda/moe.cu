// plan      rows sorted by expert, tokens in order within one (stable counting sort)
// combine   y[t] = sum_k weights[t,k] * x[inverse[t,k]]
// backward  dx[inverse[t,k]] = weights[t,k] * dy[t],   dweights[t,k] = <dy[t], x[inverse[t,k]]>
//
// How it runs: nothing of the plan leaves the device. Combine is bound by memory: forward a thread takes a pack of columns, and four
// choices at once so that their rows are on the way together; backward a warp takes a (token, choice), two packs at once; each row
// of x is read once.
#include "sort.cuh"

namespace moe::cuda {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / kLanes;

__global__ void __launch_bounds__(kThreads) fillRows(int32_t* rows, const int32_t* inverse, int64_t count, int64_t each) {
  const int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (i < count && inverse[i] >= 0) rows[inverse[i]] = static_cast<int32_t>(i / each);
}
__global__ void __launch_bounds__(kThreads) clearRows(int32_t* rows, const int32_t* end, int64_t size) {
  const int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (i < size && i >= *end) rows[i] = 0;
}

constexpr int kAhead = 4;  // choices whose rows are loaded together

template <class T> struct Combine {
  T* y;
  const T* x;
  const int32_t* inverse;
  const float* weights;
  int64_t width;
  int each;
  template <int n> __device__ void run(int64_t token, int64_t col) const {
    Floats<n> sum = {};
    for (int first = 0; first < each; first += kAhead) {
      int64_t slot[kAhead];
      float w[kAhead];
      Pack<T, n> v[kAhead];
#pragma unroll
      for (int k = 0; k < kAhead; k++) {
        slot[k] = first + k < each ? inverse[token * each + first + k] : -1;
        w[k] = slot[k] >= 0 && weights ? weights[token * each + first + k] : 1.f;
      }
#pragma unroll
      for (int k = 0; k < kAhead; k++)
        if (slot[k] >= 0) v[k] = *reinterpret_cast<const Pack<T, n>*>(x + slot[k] * width + col);
#pragma unroll
      for (int k = 0; k < kAhead; k++)
        if (slot[k] >= 0)
#pragma unroll
          for (int i = 0; i < n; i++) sum.at[i] = fmaf(w[k], widen(v[k].at[i]), sum.at[i]);
    }
    store<n>(y + token * width + col, sum);
  }
};

struct Backward {
  float dxBeta, dweightsBeta;
  const int32_t* inverse;
  const float* weights;
  float* dweights;
  int64_t width, choices;
  int each;
};

template <int n, class T> __global__ void __launch_bounds__(kThreads) combineBackward(T* dx, const T* dy, const T* x, Backward a) {
  const int lane = threadIdx.x % kLanes;
  const int64_t i = blockIdx.x * int64_t{kWarps} + threadIdx.x / kLanes;
  if (i >= a.choices) return;
  const int64_t slot = a.inverse[i];
  const T* from = dy + static_cast<uint32_t>(i) / a.each * a.width;
  const float w = a.weights ? a.weights[i] : 1.f;
  float dot = 0;
  if (slot >= 0)
    for (int64_t col = lane * n; col < a.width; col += 2 * kLanes * n) {
      Pack<T, n> d[2], v[2];
      const bool second = col + kLanes * n < a.width;
#pragma unroll
      for (int p = 0; p < 2; p++) {
        if (p == 1 && !second) continue;
        d[p] = *reinterpret_cast<const Pack<T, n>*>(from + col + p * kLanes * n);
        if (a.dweights) v[p] = *reinterpret_cast<const Pack<T, n>*>(x + slot * a.width + col + p * kLanes * n);
      }
#pragma unroll
      for (int p = 0; p < 2; p++) {
        if (p == 1 && !second) continue;
        Floats<n> out;
#pragma unroll
        for (int j = 0; j < n; j++) {
          if (a.dweights) dot = fmaf(widen(d[p].at[j]), widen(v[p].at[j]), dot);
          out.at[j] = widen(d[p].at[j]) * w;
        }
        if (dx) accumulate<n>(dx + slot * a.width + col + p * kLanes * n, out, a.dxBeta);
      }
    }
  if (!a.dweights) return;
  dot = warpSum(dot);
  if (lane == 0) accumulate(a.dweights + i, dot, a.dweightsBeta);
}

/// used[m] = 1 for rows that a token refers to.
__global__ void __launch_bounds__(kThreads) markRows(int32_t* used, const int32_t* inverse, int64_t choices) {
  const int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (i < choices && inverse[i] >= 0) used[inverse[i]] = 1;
}
__global__ void __launch_bounds__(kThreads) unmark(int32_t* used, int64_t rows) {
  const int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (i < rows) used[i] = 0;
}
/// A warp a row.
template <int n, class T> __global__ void __launch_bounds__(kThreads) clearUnused(T* dx, const int32_t* used, int64_t rows, int64_t width) {
  const int64_t row = blockIdx.x * int64_t{kWarps} + threadIdx.x / kLanes;
  if (row >= rows || used[row]) return;
  for (int64_t col = threadIdx.x % kLanes * n; col < width; col += kLanes * n) store<n>(dx + row * width + col, Floats<n>{});
}

unsigned threadsFor(int64_t count) { return blocks(divideUp(count, int64_t{kThreads})); }

/// A walk row by row over contiguous [rows, cols].
Plane rowWalk(int64_t rows, int64_t cols, const View& a, const View& b) {
  Plane p{rows, cols, cols % kVec == 0};
  for (const View* v : {&a, &b}) p.wide &= reinterpret_cast<uintptr_t>(v->data) % 16 == 0;
  return p;
}

}  // namespace

void moe_plan(Out offsets, Out rows, Out inverse, In experts) {
  const int64_t count = experts.size(), buckets = offsets.shape[0] - 1;
  countingSort(inverse.as<int32_t>(), offsets.as<int32_t>(), experts.as<int32_t>(), count, buckets, machine::Fault::id);
  launch(clearRows, threadsFor(rows.size()), kThreads, 0, rows.as<int32_t>(), offsets.as<int32_t>() + buckets, rows.size());
  launch(fillRows, threadsFor(count), kThreads, 0, rows.as<int32_t>(), inverse.as<int32_t>(), count, experts.shape[1]);
}

void combine_forward(Out y, In x, In inverse, MaybeIn weights) {
  dispatch(y.dtype, [&](auto t) {
    using T = decltype(t);
    forEach(rowWalk(y.shape[0], y.shape[1], y, x), Combine<T>{y.as<T>(), x.as<T>(), inverse.as<int32_t>(), static_cast<const float*>(weights.data), y.shape[1], static_cast<int>(inverse.shape[1])});
  });
}

void combine_backward(Acc dx, Acc dweights, In dy, In x, In inverse, MaybeIn weights) {
  if (!dx && !dweights) return;
  const int64_t width = dy.shape[1], choices = inverse.size();
  dispatch(dy.dtype, [&](auto t) {
    using T = decltype(t);
    if (dx && dx.beta == 0) {
      int32_t* used = machine::scratch<int32_t>(0, most(dx.shape[0], int64_t{1}));
      launch(unmark, threadsFor(dx.shape[0]), kThreads, 0, used, dx.shape[0]);
      launch(markRows, threadsFor(choices), kThreads, 0, used, inverse.as<int32_t>(), choices);
      const auto clear = [&](auto kernel) { launch(kernel, blocks(divideUp(dx.shape[0], int64_t{kWarps})), kThreads, 0, dx.as<T>(), used, dx.shape[0], width); };
      if (rowWalk(1, width, dx, dx).wide) clear(clearUnused<kVec, T>);
      else clear(clearUnused<1, T>);
    }
    const Backward a{dx.beta, dweights.beta, inverse.as<int32_t>(), static_cast<const float*>(weights.data), static_cast<float*>(dweights.data), width, choices, static_cast<int>(inverse.shape[1])};
    Plane p = rowWalk(1, width, dy, x);
    p.wide &= reinterpret_cast<uintptr_t>(dx.data) % 16 == 0;
    const auto run = [&](auto kernel) { launch(kernel, blocks(divideUp(choices, int64_t{kWarps})), kThreads, 0, static_cast<T*>(dx.data), dy.as<T>(), x.as<T>(), a); };
    if (p.wide) run(combineBackward<kVec, T>);
    else run(combineBackward<1, T>);
  });
}

}  // namespace moe::cuda
