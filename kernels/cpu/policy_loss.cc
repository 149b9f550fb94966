// The loss of a policy update and its gradient by -ln pi (formulas: kernels/policy.h).
//
//   loss = sum over samples i, tokens t of loss_t / divisor_i      divisor_i = divisor, by_length: divisor * length of i
//
// How it runs: a task takes one sample, once for its means and once for its terms; figures are added sample by sample. One number
// per token: small beside the forward pass that made it.
#include <cmath>

#include "../policy.h"
#include "samples.h"

namespace moe::MOE_ISA {

namespace {

struct Figures {
  double at[policy::kFigures];
};

Figures sampleFigures(const policy::Batch& b, int64_t begin, int64_t end, double advantage, const policy::Objective& o, const Acc& dnll) {
  policy::Drift drift;
  for (int64_t t = begin; t < end; t++) drift.add(b, t);
  const policy::Sample sample = policy::sampleOf(advantage, end - begin, drift, o);
  const auto exponential = [](double x) { return std::exp(x); };
  Figures figures{};
  for (int64_t t = begin; t < end; t++) {
    const auto value = static_cast<float>(-policy::addToken(figures.at, b, t, sample, o, exponential));
    if (!dnll) continue;
    float& out = dnll.as<float>()[b.rows[t]];
    out = dnll.beta == 0 ? value : out + value;
  }
  return figures;
}

}  // namespace

void policy_loss(Out loss, Out stats, Acc dnll, In nll, In rows, In advantages, In starts, MaybeIn old, MaybeIn reference, MaybeIn rollout,
                 double clip_low, double clip_high, double dual_clip, bool whole, double cap, double mask, double kl, int64_t estimator,
                 double divisor, bool by_length) {
  const int64_t samples = advantages.size();
  const int32_t* start = starts.as<int32_t>();
  checkSamples("policy_loss", rows, starts, nll.size());
  const policy::Objective o{clip_low, clip_high, dual_clip, whole, cap, mask, kl, static_cast<int>(estimator), divisor, by_length};
  const policy::Batch b{nll.as<float>(), rows.as<int32_t>(), old.as<float>(), reference.as<float>(), rollout.as<float>()};
  if (dnll && dnll.beta == 0) memset(dnll.as<float>(), 0, static_cast<size_t>(dnll.size()) * sizeof(float));
  auto* parts = static_cast<Figures*>(parallel::shared(samples * static_cast<int64_t>(sizeof(Figures))));
  parallel::loop(samples, [&](int64_t i, int) {
    parts[i] = sampleFigures(b, start[i], start[i + 1], advantages.as<double>()[i], o, dnll);
  });
  Figures all{};
  for (int64_t i = 0; i < samples; i++)
    for (int f = 0; f < policy::kFigures; f++) all.at[f] += parts[i].at[f];
  *loss.as<double>() = all.at[policy::kLoss];
  for (int f = 1; f < policy::kFigures; f++) stats.as<double>()[f - 1] = all.at[f];
}

}  // namespace moe::MOE_ISA
