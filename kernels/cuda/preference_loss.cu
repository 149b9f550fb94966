// What people's choices cost, and the sums over tokens that stand for answers.
//
//   sequence_sums    y_i = factor * sum of x[rows[t]] over the tokens t of sample i      average: divided by how many they are
//   preference_loss  sum over pairs, or over labelled answers, of kernels/preference.h; dvalues: its gradient
//
// How it runs and what bounds it: latency. A block a sample, forward and back; one block for all pairs, which are few. In f64, as
// on the CPU.
#include "../preference.h"
#include "samples.cuh"

namespace moe::cuda {

namespace {

constexpr int kThreads = 128;
constexpr size_t kReduceBytes = kThreads / kLanes * sizeof(double);

struct Maths {
  __host__ __device__ double exp(double x) const { return ::exp(x); }
  __host__ __device__ double log1p(double x) const { return ::log1p(x); }
};

/// What a sample's sum is multiplied by.
__device__ double shareOf(const Samples& s, int64_t i, double factor, bool average) {
  const int32_t length = s.starts[i + 1] - s.starts[i];
  return average && length > 0 ? factor / length : factor;
}

__global__ void __launch_bounds__(kThreads) sumKernel(double* y, const float* x, Samples s, double factor, bool average) {
  double* reduce = sharedMemory<double>();
  double sum = 0;
  if (!s.each(blockIdx.x, reduce, [&](int64_t t) { sum += x[s.rows[t]]; })) return;
  sum = blockSum(sum, reduce);
  if (threadIdx.x == 0) y[blockIdx.x] = shareOf(s, blockIdx.x, factor, average) * sum;
}

__global__ void __launch_bounds__(kThreads) spreadKernel(float* dx, float beta, const double* dy, Samples s, double factor, bool average) {
  const float value = static_cast<float>(shareOf(s, blockIdx.x, factor, average) * dy[blockIdx.x]);
  s.each(blockIdx.x, sharedMemory<double>(), [&](int64_t t) { accumulate(dx + s.rows[t], value, beta); });
}

__global__ void __launch_bounds__(kThreads) lossKernel(double* loss, preference::Batch b, int64_t count, preference::Objective o) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += preference::lossOf(b, i, o, Maths{});
  sum = blockSum(sum, sharedMemory<double>());
  if (threadIdx.x == 0) *loss = sum;
}

}  // namespace

void sequence_sums_forward(Out y, In x, In rows, In starts, double factor, bool average) {
  launch(sumKernel, blocks(y.size()), kThreads, kReduceBytes, y.as<double>(), x.as<float>(), samplesOf(rows, starts, x.size()), factor, average);
}

void sequence_sums_backward(Acc dx, In dy, In rows, In starts, double factor, bool average) {
  if (!dx) return;
  clearRows(dx);
  launch(spreadKernel, blocks(dy.size()), kThreads, kReduceBytes, dx.as<float>(), dx.beta, dy.as<double>(), samplesOf(rows, starts, dx.size()), factor, average);
}

void preference_loss(Out loss, MaybeOut dvalues, In values, MaybeIn reference, MaybeIn targets, int64_t kind, double beta,
                     double smoothing, double center, double total) {
  const preference::Objective o{static_cast<int>(kind), beta, smoothing, center, total};
  const int64_t count = preference::countOf(values.size(), o);
  preference::check(values.size(), targets ? targets.size() : count, o);
  const auto doubles = [](const View& v) { return static_cast<double*>(v.data); };
  launch(lossKernel, 1, kThreads, kReduceBytes, loss.as<double>(), preference::Batch{values.as<double>(), doubles(reference), doubles(targets), doubles(dvalues)}, count, o);
}

}  // namespace moe::cuda
