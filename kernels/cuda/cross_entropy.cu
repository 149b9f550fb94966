// z = scale * logits     lse = log sum exp z     nll = lse - z[target]     entropy = lse - sum p z,  p = exp(z - lse)
// dlogits = scale * ((dnll + dlse) p - dnll onehot(target))
// A target below 0 marks a row without a loss: nll is 0 and dnll does not count; lse and its gradient exist.
// linear_cross_entropy: logits = x W^T + b, never held all at once; dx = dlogits W, dW = dlogits^T x, db = column sums.
//
// How it runs: one block a row of logits, two passes. The fused ops take chunks of rows: logits of the chunk (f32), statistics,
// gradients in x's type for the tensor cores, two products more. Sums over rows continue in f32 from chunk to chunk. What bounds
// it: the three products, 6 R H V.
#include "gemm/gemm.h"
#include "slabs.cuh"

namespace moe::cuda {

using gemm::Product;
using gemm::Side;
using gemm::Target;

namespace {

constexpr int kThreads = 512;
constexpr size_t kReduceBytes = kThreads / kLanes * sizeof(float);
constexpr int64_t kChunkBytes = int64_t{256} << 20;  // logits held at once
constexpr int64_t kLeastChunk = 128, kMostChunk = 4096;

/// The results of rows `first` on; logits begin at that row.
template <class T> __global__ void __launch_bounds__(kThreads)
lossKernel(float* nll, float* lse, float* entropy, Rows<const T> logits, int64_t cols, const int32_t* targets, float scale, int32_t* fault) {
  float* reduce = sharedMemory<float>();
  const int64_t row = blockIdx.x;
  float top = -INFINITY;
  for (int64_t j = threadIdx.x; j < cols; j += kThreads) top = fmaxf(top, scale * widen(*logits.at(row, j)));
  top = blockMost(top, reduce);
  float sum = 0, weighted = 0;
  for (int64_t j = threadIdx.x; j < cols; j += kThreads) {
    const float below = scale * widen(*logits.at(row, j)) - top, e = expf(below);
    sum += e;
    if (e > 0) weighted += e * below;  // 0 * -inf of a masked logit is 0
  }
  sum = blockSum(sum, reduce);
  if (entropy) weighted = blockSum(weighted, reduce);
  if (threadIdx.x != 0) return;
  const float above = logf(sum);
  const int32_t target = targets[row];
  if (target >= cols) *fault = static_cast<int32_t>(machine::Fault::id);
  lse[row] = top + above;
  nll[row] = target < 0 || target >= cols ? 0.f : above - (scale * widen(*logits.at(row, target)) - top);
  if (entropy) entropy[row] = above - weighted / sum;
}

/// Where a row's gradient comes from: dnll and dlse as given, or with `z` those of nll + z lse^2.
struct Upstream {
  const float *dnll, *dlse, *lse;
  float z;
};

template <class D, class T> __global__ void __launch_bounds__(kThreads)
gradientKernel(Rows<D> dlogits, float beta, Rows<const T> logits, int64_t cols, const int32_t* targets, float scale, Upstream up) {
  const int64_t row = blockIdx.x;
  const int32_t target = targets[row];
  const float lse = up.lse[row], dnll = target < 0 ? 0.f : up.dnll[row];
  const float all = dnll + (up.dlse ? up.dlse[row] : 0.f) + 2 * up.z * lse * dnll;
  for (int64_t j = threadIdx.x; j < cols; j += kThreads) {
    const float p = expf(scale * widen(*logits.at(row, j)) - lse);
    accumulate(dlogits.at(row, j), scale * (all * p - (j == target ? dnll : 0.f)), beta);
  }
}

struct Head {
  In x, weight;
  MaybeIn bias;
  int64_t rows() const { return x.shape[0]; }
  int64_t hidden() const { return x.shape[1]; }
  int64_t vocabulary() const { return weight.shape[0]; }
};

const void* rowAt(const View& v, int64_t row) { return static_cast<const char*>(v.data) + row * v.stride[0] * bytes(v.dtype); }

int64_t chunkRows(const Head& head) {
  const int64_t fits = kChunkBytes / (4 * head.vocabulary());
  return least(head.rows(), least(kMostChunk, most(kLeastChunk, fits)));
}

/// Runs body(logits [rows, V] f32, first row, rows) for each chunk. The logits lie in scratch slot 2.
template <class F> void eachChunk(const Head& head, F&& body) {
  if (head.rows() == 0) return;
  const int64_t chunk = chunkRows(head), vocabulary = head.vocabulary();
  float* logits = machine::scratch<float>(2, chunk * vocabulary);
  for (int64_t first = 0; first < head.rows(); first += chunk) {
    const int64_t rows = least(chunk, head.rows() - first);
    compute(Product{Side{rowAt(head.x, first), head.x.dtype, head.x.stride[0]}, Side{head.weight.data, head.weight.dtype, head.weight.stride[0]},
                    Target{logits, DType::f32, vocabulary, false, head.bias.data, head.bias.dtype}, rows, vocabulary, head.hidden()});
    body(logits, first, rows);
  }
}

void losses(const Head& head, const float* logits, int64_t first, int64_t rows, const Out& nll, const Out& lse, const View& entropy, const In& targets, float scale) {
  launch(lossKernel<float>, blocks(rows), kThreads, kReduceBytes, nll.as<float>() + first, lse.as<float>() + first, entropy ? static_cast<float*>(entropy.data) + first : nullptr,
         Rows<const float>{logits, head.vocabulary()}, head.vocabulary(), targets.as<int32_t>() + first, scale, machine::faultWord());
}

/// Gradients of the chunk's logits in scratch slot 3, and what flows on from them.
void goBack(const Head& head, const float* logits, int64_t first, int64_t rows, const Acc& dx, const Acc& dweight, const Acc& dbias, const In& targets, float scale, const Upstream& up) {
  const int64_t vocabulary = head.vocabulary();
  dispatch(head.x.dtype, [&](auto t) {
    using T = decltype(t);
    T* dlogits = machine::scratch<T>(3, chunkRows(head) * vocabulary);
    launch(gradientKernel<T, float>, blocks(rows), kThreads, 0, Rows<T>{dlogits, vocabulary}, 0.f, Rows<const float>{logits, vocabulary}, vocabulary, targets.as<int32_t>() + first, scale, up);
    const Side gradient{dlogits, head.x.dtype, vocabulary};
    Side across = gradient, weight{head.weight.data, head.weight.dtype, head.weight.stride[0], true}, x{rowAt(head.x, first), head.x.dtype, head.x.stride[0], true};
    across.kFirst = true;
    const bool more = first > 0;  // sums over rows continue
    if (dx) compute(Product{gradient, weight, Target{const_cast<void*>(rowAt(dx, first)), dx.dtype, dx.stride[0], dx.beta != 0}, rows, head.hidden(), vocabulary});
    if (dweight) compute(Product{across, x, Target{dweight.data, dweight.dtype, dweight.stride[0], more || dweight.beta != 0}, vocabulary, head.hidden(), rows});
    if (!dbias) return;
    Acc sums = dbias;
    if (more) sums.beta = 1;
    View all;
    all.data = dlogits;
    all.dtype = head.x.dtype;
    all.rank = 2;
    all.shape[0] = rows;
    all.shape[1] = all.stride[0] = vocabulary;
    all.stride[1] = 1;
    columnSums(sums, all);
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
    launch(lossKernel<T>, blocks(logits.shape[0]), kThreads, kReduceBytes, nll.as<float>(), lse.as<float>(), static_cast<float*>(entropy.data), rowsOf<const T>(logits), logits.shape[1],
           targets.as<int32_t>(), scale, machine::faultWord());
  });
}

void cross_entropy_backward(Acc dlogits, In dnll, MaybeIn dlse, In lse, In logits, In targets, float scale) {
  if (!dlogits) return;
  const Upstream up{dnll.as<float>(), static_cast<const float*>(dlse.data), lse.as<float>(), 0};
  dispatch(logits.dtype, [&](auto t) {
    using T = decltype(t);
    launch(gradientKernel<T, T>, blocks(logits.shape[0]), kThreads, 0, rowsOf<T>(dlogits), dlogits.beta, rowsOf<const T>(logits), logits.shape[1], targets.as<int32_t>(), scale, up);
  });
}

void linear_cross_entropy_forward(Out nll, Out lse, MaybeOut entropy, In x, In weight, MaybeIn bias, In targets, float scale) {
  const Head head{x, weight, bias};
  eachChunk(head, [&](const float* logits, int64_t first, int64_t rows) { losses(head, logits, first, rows, nll, lse, entropy, targets, scale); });
}

void linear_cross_entropy_backward(Acc dx, Acc dweight, Acc dbias, In dnll, MaybeIn dlse, In lse, In x, In weight, MaybeIn bias, In targets, float scale) {
  const Head head{x, weight, bias};
  clearIfEmpty(head, dweight, dbias);
  eachChunk(head, [&](const float* logits, int64_t first, int64_t rows) {
    goBack(head, logits, first, rows, dx, dweight, dbias, targets, scale, {dnll.as<float>() + first, dlse ? dlse.as<float>() + first : nullptr, lse.as<float>() + first, 0});
  });
}

void linear_cross_entropy_train(Out nll, Out lse, Acc dx, Acc dweight, Acc dbias, In dnll, In x, In weight, MaybeIn bias, In targets, float z) {
  const Head head{x, weight, bias};
  clearIfEmpty(head, dweight, dbias);
  eachChunk(head, [&](const float* logits, int64_t first, int64_t rows) {
    losses(head, logits, first, rows, nll, lse, View{}, targets, 1);
    goBack(head, logits, first, rows, dx, dweight, dbias, targets, 1, {dnll.as<float>() + first, nullptr, lse.as<float>() + first, z});
  });
}

}  // namespace moe::cuda
