// Balancing without a loss: a router's biases move against the load of its experts.
//
//   b_e += speed * sign(mean load - load_e)         DeepSeek-V3 section 2.1.2; Wang et al., arXiv:2408.15664
//   add_counts: load += counts, so that a load is that of all micro-batches of a step
//
// How it runs: some hundred numbers a layer, so the calling thread does it.
#include <cmath>

#include "cpu.h"

namespace moe::MOE_ISA {

void add_counts(List<Mut> load, List<In> counts) {
  for (int64_t i = 0; i < load.count; i++)
    for (int64_t e = 0; e < load[i].size(); e++) load[i].as<int32_t>()[e] += counts[i].as<int32_t>()[e];
}

void router_bias(List<Mut> bias, List<In> load, In scale, double speed) {
  if (std::isnan(*scale.as<float>())) return;
  for (int64_t i = 0; i < bias.count; i++) {
    const int64_t experts = bias[i].size();
    const int32_t* n = load[i].as<int32_t>();
    double mean = 0;
    for (int64_t e = 0; e < experts; e++) mean += n[e];
    mean /= static_cast<double>(experts);
    for (int64_t e = 0; e < experts; e++) {
      const int sign = (mean > n[e]) - (mean < n[e]);
      float& b = bias[i].as<float>()[e];
      b = static_cast<float>(b + speed * sign);
    }
  }
}

}  // namespace moe::MOE_ISA
