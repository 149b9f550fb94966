// router_bias   b_e += speed * sign(mean load - load_e)     DeepSeek-V3 section 2.1.2; Wang et al., arXiv:2408.15664
// add_counts    load += counts, so that a load is that of all micro-batches of a step
//
// How it runs and what bounds it: latency. A block a layer, all layers in one launch. `scale` is the factor of the update that these
// biases belong to: where it is NaN, because a gradient was not finite, they stay as they are too. In f64, as on the CPU.
#include "segments.cuh"

namespace moe::cuda {

namespace {

constexpr int kThreads = 128;

struct Layer {
  int32_t* load;
  const int32_t* counts;
  float* bias;
  int64_t experts;
};

__global__ void __launch_bounds__(kThreads) countKernel(const __grid_constant__ Segments<Layer> all) {
  const Layer& q = all.at[blockIdx.x];
  for (int64_t e = threadIdx.x; e < q.experts; e += kThreads) q.load[e] += q.counts[e];
}

__global__ void __launch_bounds__(kThreads) biasKernel(const __grid_constant__ Segments<Layer> all, const float* scale, double speed) {
  if (*scale != *scale) return;
  double* reduce = sharedMemory<double>();
  const Layer& q = all.at[blockIdx.x];
  double sum = 0;
  for (int64_t e = threadIdx.x; e < q.experts; e += kThreads) sum += q.load[e];
  const double mean = blockSum(sum, reduce) / static_cast<double>(q.experts);
  for (int64_t e = threadIdx.x; e < q.experts; e += kThreads) {
    const double n = q.load[e];
    q.bias[e] = static_cast<float>(q.bias[e] + speed * ((mean > n) - (mean < n)));
  }
}

}  // namespace

void add_counts(List<Mut> load, List<In> counts) {
  auto batches = batchesOf<Layer>([](const auto& all, unsigned grid) { launch(countKernel, grid, kThreads, 0, all); });
  for (int64_t i = 0; i < load.count; i++) batches.add({load[i].as<int32_t>(), counts[i].as<int32_t>(), nullptr, load[i].size()});
  batches.flush();
}

void router_bias(List<Mut> bias, List<In> load, In scale, double speed) {
  auto batches = batchesOf<Layer>([&](const auto& all, unsigned grid) {
    launch(biasKernel, grid, kThreads, kThreads / kLanes * sizeof(double), all, scale.as<float>(), speed);
  });
  for (int64_t i = 0; i < bias.count; i++)
    batches.add({const_cast<int32_t*>(load[i].as<int32_t>()), nullptr, bias[i].as<float>(), bias[i].size()});
  batches.flush();
}

}  // namespace moe::cuda
