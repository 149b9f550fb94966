// The loss of a policy update and its gradient by -ln pi (formulas: kernels/policy.h).
//
//   loss = sum over samples i, tokens t of loss_t / divisor_i      divisor_i = divisor, by_length: divisor * length of i
//
// How it runs and what bounds it: latency; one number per token, in f64 as on the CPU. (1) a block a sample, once over its tokens
// for the means that they share and once for their terms; (2) one block adds the samples' figures, a warp a figure. Rows that no
// token names are cleared before.
#include "../policy.h"
#include "samples.cuh"

namespace moe::cuda {

namespace {

constexpr int kThreads = 256;
constexpr size_t kReduceBytes = kThreads / kLanes * sizeof(double);

struct Exponential {
  __host__ __device__ double operator()(double x) const { return ::exp(x); }
};

struct Update {
  policy::Batch batch;
  policy::Objective objective;
  const double* advantages;  // [S]
  Samples samples;
  double* figures;  // [S,kFigures]
  float* dnll;      // [T] or null
  float beta;
};

__global__ void __launch_bounds__(kThreads) sampleKernel(const __grid_constant__ Update u) {
  double* reduce = sharedMemory<double>();
  const int64_t sample = blockIdx.x, begin = u.samples.starts[sample], end = u.samples.starts[sample + 1];
  policy::Drift drift;
  if (!u.samples.each(sample, reduce, [&](int64_t t) { drift.add(u.batch, t); })) return;
  drift = {blockSum(drift.moved, reduce), blockSum(drift.weight, reduce), blockSum(drift.left, reduce)};
  const policy::Sample shared = policy::sampleOf(u.advantages[sample], end - begin, drift, u.objective);
  double figures[policy::kFigures] = {};
  for (int64_t t = begin + threadIdx.x; t < end; t += kThreads) {
    const double slope = policy::addToken(figures, u.batch, t, shared, u.objective, Exponential{});
    if (u.dnll) accumulate(u.dnll + u.batch.rows[t], static_cast<float>(-slope), u.beta);
  }
#pragma unroll
  for (int f = 0; f < policy::kFigures; f++) {
    const double sum = blockSum(figures[f], reduce);
    if (threadIdx.x == 0) u.figures[sample * policy::kFigures + f] = sum;
  }
}

__global__ void __launch_bounds__(policy::kFigures * kLanes) sumKernel(double* loss, double* stats, const double* figures, int64_t samples) {
  const int lane = threadIdx.x % kLanes, f = threadIdx.x / kLanes;
  double sum = 0;
  for (int64_t i = lane; i < samples; i += kLanes) sum += figures[i * policy::kFigures + f];
  sum = warpSum(sum);
  if (lane == 0) *(f == policy::kLoss ? loss : stats + f - 1) = sum;
}

}  // namespace

void policy_loss(Out loss, Out stats, Acc dnll, In nll, In rows, In advantages, In starts, MaybeIn old, MaybeIn reference, MaybeIn rollout,
                 double clip_low, double clip_high, double dual_clip, bool whole, double cap, double mask, double kl, int64_t estimator,
                 double divisor, bool by_length) {
  const int64_t samples = advantages.size();
  auto* figures = machine::scratch<double>(0, most(samples, int64_t{1}) * policy::kFigures);
  const auto floats = [](const View& v) { return static_cast<const float*>(v.data); };
  const Update u{{floats(nll), rows.as<int32_t>(), floats(old), floats(reference), floats(rollout)},
                 {clip_low, clip_high, dual_clip, whole, cap, mask, kl, static_cast<int>(estimator), divisor, by_length},
                 advantages.as<double>(), samplesOf(rows, starts, nll.size()), figures, static_cast<float*>(dnll.data), dnll.beta};
  clearRows(dnll);
  launch(sampleKernel, blocks(samples), kThreads, kReduceBytes, u);
  launch(sumKernel, 1, policy::kFigures * kLanes, 0, loss.as<double>(), stats.as<double>(), figures, samples);
}

}  // namespace moe::cuda
