// What people's choices cost, and the sums over tokens that stand for answers.
//
//   sequence_sums    y_i = factor * sum of x[rows[t]] over the tokens t of sample i      average: divided by how many they are
//   preference_loss  sum over pairs, or over labelled answers, of kernels/preference.h; dvalues: its gradient
//
// How it runs: a task takes one sample; pairs are few, so the calling thread does them. Small beside the forward pass.
#include <cmath>

#include "../preference.h"
#include "samples.h"

namespace moe::MOE_ISA {

namespace {

struct Maths {
  double exp(double x) const { return std::exp(x); }
  double log1p(double x) const { return std::log1p(x); }
};

/// What a sample's sum is multiplied by.
double shareOf(const int32_t* starts, int64_t i, double factor, bool average) {
  const int32_t length = starts[i + 1] - starts[i];
  return average && length > 0 ? factor / length : factor;
}

}  // namespace

void sequence_sums_forward(Out y, In x, In rows, In starts, double factor, bool average) {
  checkSamples("sequence_sums_forward", rows, starts, x.size());
  const int32_t *row = rows.as<int32_t>(), *bound = starts.as<int32_t>();
  parallel::loop(y.size(), [&](int64_t i, int) {
    double sum = 0;
    for (int64_t t = bound[i]; t < bound[i + 1]; t++) sum += x.as<float>()[row[t]];
    y.as<double>()[i] = shareOf(bound, i, factor, average) * sum;
  });
}

void sequence_sums_backward(Acc dx, In dy, In rows, In starts, double factor, bool average) {
  if (!dx) return;
  checkSamples("sequence_sums_backward", rows, starts, dx.size());
  const int32_t *row = rows.as<int32_t>(), *bound = starts.as<int32_t>();
  if (dx.beta == 0) memset(dx.as<float>(), 0, static_cast<size_t>(dx.size()) * sizeof(float));
  parallel::loop(dy.size(), [&](int64_t i, int) {
    const auto value = static_cast<float>(shareOf(bound, i, factor, average) * dy.as<double>()[i]);
    for (int64_t t = bound[i]; t < bound[i + 1]; t++) {
      float& out = dx.as<float>()[row[t]];
      out = dx.beta == 0 ? value : out + value;
    }
  });
}

void preference_loss(Out loss, MaybeOut dvalues, In values, MaybeIn reference, MaybeIn targets, int64_t kind, double beta,
                     double smoothing, double center, double total) {
  const preference::Objective o{static_cast<int>(kind), beta, smoothing, center, total};
  const int64_t count = preference::countOf(values.size(), o);
  preference::check(values.size(), targets ? targets.size() : count, o);
  const preference::Batch b{values.as<double>(), reference.as<double>(), targets.as<double>(), dvalues.as<double>()};
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += preference::lossOf(b, i, o, Maths{});
  *loss.as<double>() = sum;
}

}  // namespace moe::MOE_ISA
