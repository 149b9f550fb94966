// z = scale * logits     lse = log sum exp z     nll = lse - z[target]     entropy = lse - sum p z,  p = exp(z - lse)
// dlogits = scale * ((dnll + dlse) p - dnll onehot(target))
// A target below 0 marks a row without a loss: nll is 0 and dnll does not count; lse and its gradient exist.
// linear_cross_entropy: logits = x W^T + b, never held all at once; dx = dlogits W, dW = dlogits^T x, db = column sums.
//
// How it runs: one block a row of logits: one pass with a running maximum, and where gradients are wanted a second one, which finds
// the row in the cache. The fused ops take chunks of rows: logits of the chunk (f32), statistics and gradients in x's type for the
// tensor cores. The gradients of several chunks stay until two products more take them at once, for what those products add up
// (dW) is larger than the logits. Sums over rows continue in f32 from chunk to chunk. What bounds it: the three products, 6 R H V.
#include <type_traits>

#include "gemm/gemm.h"
#include "slabs.cuh"

namespace moe::cuda {

using gemm::Product;
using gemm::Side;
using gemm::Target;

namespace {

constexpr int kThreads = 512;
constexpr size_t kReduceBytes = kThreads / kLanes * sizeof(float);
constexpr int64_t kLogitBytes = int64_t{256} << 20, kGradientBytes = int64_t{512} << 20;  // held at once
constexpr int64_t kLeastChunk = 128, kMostChunk = 4096;

/// calls f(col) for this thread's packs of a row
template <int n, class F> __device__ __forceinline__ void columns(int64_t cols, F f) {
  for (int64_t col = int64_t{threadIdx.x} * n; col < cols; col += int64_t{kThreads} * n) f(col);
}

/// Of a row: its largest z, the sum of exp(z - top), the sum of exp(z - top) (z - top).
struct Statistics {
  float top, sum, weighted;
};

/// The block's, for every thread.
template <int n, class T> __device__ Statistics statisticsOf(const T* logits, int64_t cols, float scale, bool wantWeighted, float* reduce) {
  Statistics s{-INFINITY, 0, 0};
  const auto move = [&](float top) {  // sums against another maximum; an empty sum has none
    const float below = s.top - top, fade = s.sum > 0 ? expf(below) : 0.f;
    s = {top, s.sum * fade, s.sum > 0 ? fade * (s.weighted + below * s.sum) : 0.f};
  };
  columns<n>(cols, [&](int64_t col) {
    const Floats<n> z = load<n>(logits + col);
    float top = s.top;
#pragma unroll
    for (int i = 0; i < n; i++) top = fmaxf(top, scale * z.at[i]);
    if (top > s.top) move(top);
#pragma unroll
    for (int i = 0; i < n; i++) {
      const float below = scale * z.at[i] - s.top, e = expf(below);
      if (!(e > 0)) continue;  // 0 * -inf of a masked logit is 0
      s.sum += e;
      s.weighted += e * below;
    }
  });
  move(blockMost(s.top, reduce));
  s.sum = blockSum(s.sum, reduce);
  if (wantWeighted) s.weighted = blockSum(s.weighted, reduce);
  return s;
}

/// What is known of each row afterwards, or before.
struct Results {
  float *nll, *lse, *entropy;
};

/// One thread writes a row's results.
template <class T> __device__ void deliver(const Results& to, int64_t row, const Statistics& s, const T* logits, int64_t cols, int32_t target, float scale, int32_t* fault) {
  const float above = logf(s.sum);
  if (target >= cols) *fault = static_cast<int32_t>(machine::Fault::id);
  to.lse[row] = s.top + above;
  to.nll[row] = target < 0 || target >= cols ? 0.f : above - (scale * widen(logits[target]) - s.top);
  if (to.entropy) to.entropy[row] = above - s.weighted / s.sum;
}

/// Where a row's gradient comes from: dnll and dlse as given, or with `z` those of nll + z lse^2.
struct Upstream {
  const float *dnll, *dlse;
  float z;
};

template <int n, class D, class T>
__device__ __forceinline__ void differentiate(D* dlogits, float beta, const T* logits, int64_t cols, int64_t row, int32_t target, float lse, float scale, const Upstream& up) {
  const float dnll = target < 0 ? 0.f : up.dnll[row], all = dnll + (up.dlse ? up.dlse[row] : 0.f) + 2 * up.z * lse * dnll;
  columns<n>(cols, [&](int64_t col) {
    Floats<n> z = load<n>(logits + col);
#pragma unroll
    for (int i = 0; i < n; i++) z.at[i] = scale * (all * expf(scale * z.at[i] - lse) - (col + i == target ? dnll : 0.f));
    accumulate<n>(dlogits + col, z, beta);
  });
}

template <int n, class T> __global__ void __launch_bounds__(kThreads)
lossKernel(Results to, Rows<const T> logits, int64_t cols, const int32_t* targets, float scale, int32_t* fault) {
  const int64_t row = blockIdx.x;
  const Statistics s = statisticsOf<n>(logits.at(row), cols, scale, to.entropy != nullptr, sharedMemory<float>());
  if (threadIdx.x == 0) deliver(to, row, s, logits.at(row), cols, targets[row], scale, fault);
}

template <int n, class D, class T> __global__ void __launch_bounds__(kThreads)
gradientKernel(Rows<D> dlogits, float beta, Rows<const T> logits, int64_t cols, const int32_t* targets, const float* lse, float scale, Upstream up) {
  const int64_t row = blockIdx.x;
  differentiate<n>(dlogits.at(row), beta, logits.at(row), cols, row, targets[row], lse[row], scale, up);
}

/// Both at once.
template <int n, class D, class T> __global__ void __launch_bounds__(kThreads)
trainKernel(Results to, Rows<D> dlogits, Rows<const T> logits, int64_t cols, const int32_t* targets, Upstream up, int32_t* fault) {
  const int64_t row = blockIdx.x;
  const Statistics s = statisticsOf<n>(logits.at(row), cols, 1, false, sharedMemory<float>());
  if (threadIdx.x == 0) deliver(to, row, s, logits.at(row), cols, targets[row], 1, fault);
  differentiate<n>(dlogits.at(row), 0, logits.at(row), cols, row, targets[row], s.top + logf(s.sum), 1, up);
}

/// Calls run(number of elements to a pack) with what fits rows of `cols` elements at these places.
template <class F> void withPacks(int64_t cols, bool aligned, F&& run) {
  if (aligned && cols % kVec == 0) run(std::integral_constant<int, kVec>{});
  else run(std::integral_constant<int, 1>{});
}
template <class T> bool aligned(const Rows<T>& r) { return reinterpret_cast<uintptr_t>(r.data) % 16 == 0 && r.stride % kVec == 0; }

struct Head {
  In x, weight;
  MaybeIn bias;
  int64_t rows() const { return x.shape[0]; }
  int64_t hidden() const { return x.shape[1]; }
  int64_t vocabulary() const { return weight.shape[0]; }
};

const void* rowAt(const View& v, int64_t row) { return static_cast<const char*>(v.data) + row * v.stride[0] * bytes(v.dtype); }

/// Rows whose logits are held at once, and rows whose gradients are: whole chunks of the former.
int64_t chunkRows(const Head& head) {
  const int64_t fits = kLogitBytes / (4 * head.vocabulary());
  return least(head.rows(), least(kMostChunk, most(kLeastChunk, fits)));
}
int64_t gradientRows(const Head& head) {
  const int64_t chunk = most(chunkRows(head), int64_t{1}), fits = kGradientBytes / (bytes(head.x.dtype) * head.vocabulary());
  return least(head.rows(), most(fits / chunk, int64_t{1}) * chunk);
}

/// Runs body(logits [rows, V] f32, first row, rows) for each chunk of rows [begin, end). The logits lie in scratch slot 2.
template <class F> void eachChunk(const Head& head, int64_t begin, int64_t end, F&& body) {
  if (begin == end) return;
  const int64_t chunk = chunkRows(head), vocabulary = head.vocabulary();
  float* logits = machine::scratch<float>(2, chunk * vocabulary);
  for (int64_t first = begin; first < end; first += chunk) {
    const int64_t rows = least(chunk, end - first);
    compute(Product{Side{rowAt(head.x, first), head.x.dtype, head.x.stride[0]}, Side{head.weight.data, head.weight.dtype, head.weight.stride[0]},
                    Target{logits, DType::f32, vocabulary, false, head.bias.data, head.bias.dtype}, rows, vocabulary, head.hidden()});
    body(Rows<const float>{logits, vocabulary}, first, rows);
  }
}

/// What flows on from the logits' gradients of rows [first, first + rows).
template <class T> void spread(const Head& head, const T* dlogits, int64_t first, int64_t rows, const Acc& dx, const Acc& dweight, const Acc& dbias) {
  const int64_t vocabulary = head.vocabulary();
  const Side gradient{dlogits, head.x.dtype, vocabulary}, across{dlogits, head.x.dtype, vocabulary, true};
  const Side weight{head.weight.data, head.weight.dtype, head.weight.stride[0], true}, x{rowAt(head.x, first), head.x.dtype, head.x.stride[0], true};
  const bool more = first > 0;  // sums over rows continue
  if (dx) compute(Product{gradient, weight, Target{const_cast<void*>(rowAt(dx, first)), dx.dtype, dx.stride[0], dx.beta != 0}, rows, head.hidden(), vocabulary});
  if (dweight) compute(Product{across, x, Target{dweight.data, dweight.dtype, dweight.stride[0], more || dweight.beta != 0}, vocabulary, head.hidden(), rows});
  if (!dbias) return;
  Acc sums = dbias;
  if (more) sums.beta = 1;
  View all;
  all.data = const_cast<T*>(dlogits);
  all.dtype = head.x.dtype;
  all.rank = 2;
  all.shape[0] = rows;
  all.shape[1] = all.stride[0] = vocabulary;
  all.stride[1] = 1;
  columnSums(sums, all);
}

/// Runs body(gradients to be written [rows, V] in x's type, logits, first row, rows) for each chunk of logits, and lets the gradients
/// flow on. They lie in scratch slot 3.
template <class F> void goBack(const Head& head, const Acc& dx, const Acc& dweight, const Acc& dbias, F&& body) {
  const int64_t vocabulary = head.vocabulary();
  dispatch(head.x.dtype, [&](auto t) {
    using T = decltype(t);
    const int64_t together = gradientRows(head);
    T* dlogits = machine::scratch<T>(3, most(together * vocabulary, int64_t{1}));
    for (int64_t begin = 0; begin < head.rows(); begin += together) {
      const int64_t end = least(begin + together, head.rows());
      eachChunk(head, begin, end, [&](const Rows<const float>& logits, int64_t first, int64_t rows) {
        body(Rows<T>{dlogits + (first - begin) * vocabulary, vocabulary}, logits, first, rows);
      });
      spread(head, dlogits, begin, end - begin, dx, dweight, dbias);
    }
  });
}

/// Without rows there is no chunk, but what was to be written must be.
void clearIfEmpty(const Head& head, const Acc& dweight, const Acc& dbias) {
  for (const Acc* a : {&dweight, &dbias})
    if (head.rows() == 0 && *a && a->beta == 0) {
      Out all;
      static_cast<View&>(all) = *a;
      fill(all, 0);
    }
}

}  // namespace

void cross_entropy_forward(Out nll, Out lse, MaybeOut entropy, In logits, In targets, float scale) {
  dispatch(logits.dtype, [&](auto t) {
    using T = decltype(t);
    const Rows<const T> rows = rowsOf<const T>(logits);
    withPacks(logits.shape[1], aligned(rows), [&](auto n) {
      launch(lossKernel<n(), T>, blocks(logits.shape[0]), kThreads, kReduceBytes, Results{nll.as<float>(), lse.as<float>(), static_cast<float*>(entropy.data)}, rows, logits.shape[1],
             targets.as<int32_t>(), scale, machine::faultWord());
    });
  });
}

void cross_entropy_backward(Acc dlogits, In dnll, MaybeIn dlse, In lse, In logits, In targets, float scale) {
  if (!dlogits) return;
  dispatch(logits.dtype, [&](auto t) {
    using T = decltype(t);
    const Rows<const T> rows = rowsOf<const T>(logits);
    const Rows<T> to = rowsOf<T>(dlogits);
    withPacks(logits.shape[1], aligned(rows) && aligned(to), [&](auto n) {
      launch(gradientKernel<n(), T, T>, blocks(logits.shape[0]), kThreads, 0, to, dlogits.beta, rows, logits.shape[1], targets.as<int32_t>(), lse.as<float>(), scale,
             Upstream{dnll.as<float>(), static_cast<const float*>(dlse.data), 0});
    });
  });
}

void linear_cross_entropy_forward(Out nll, Out lse, MaybeOut entropy, In x, In weight, MaybeIn bias, In targets, float scale) {
  const Head head{x, weight, bias};
  eachChunk(head, 0, head.rows(), [&](const Rows<const float>& logits, int64_t first, int64_t rows) {
    const Results to{nll.as<float>() + first, lse.as<float>() + first, entropy ? entropy.as<float>() + first : nullptr};
    withPacks(head.vocabulary(), true, [&](auto n) {
      launch(lossKernel<n(), float>, blocks(rows), kThreads, kReduceBytes, to, logits, head.vocabulary(), targets.as<int32_t>() + first, scale, machine::faultWord());
    });
  });
}

void linear_cross_entropy_backward(Acc dx, Acc dweight, Acc dbias, In dnll, MaybeIn dlse, In lse, In x, In weight, MaybeIn bias, In targets, float scale) {
  const Head head{x, weight, bias};
  clearIfEmpty(head, dweight, dbias);
  goBack(head, dx, dweight, dbias, [&](auto dlogits, const Rows<const float>& logits, int64_t first, int64_t rows) {
    using D = std::remove_pointer_t<decltype(dlogits.data)>;
    withPacks(head.vocabulary(), true, [&](auto n) {
      launch(gradientKernel<n(), D, float>, blocks(rows), kThreads, 0, dlogits, 0.f, logits, head.vocabulary(), targets.as<int32_t>() + first, lse.as<float>() + first, scale,
             Upstream{dnll.as<float>() + first, dlse ? dlse.as<float>() + first : nullptr, 0});
    });
  });
}

void linear_cross_entropy_train(Out nll, Out lse, Acc dx, Acc dweight, Acc dbias, In dnll, In x, In weight, MaybeIn bias, In targets, float z) {
  const Head head{x, weight, bias};
  clearIfEmpty(head, dweight, dbias);
  goBack(head, dx, dweight, dbias, [&](auto dlogits, const Rows<const float>& logits, int64_t first, int64_t rows) {
    using D = std::remove_pointer_t<decltype(dlogits.data)>;
    withPacks(head.vocabulary(), true, [&](auto n) {
      launch(trainKernel<n(), D, float>, blocks(rows), kThreads, kReduceBytes, Results{nll.as<float>() + first, lse.as<float>() + first, nullptr}, dlogits, logits, head.vocabulary(),
             targets.as<int32_t>() + first, Upstream{dnll.as<float>() + first, nullptr, z}, machine::faultWord());
    });
  });
}

}  // namespace moe::cuda
