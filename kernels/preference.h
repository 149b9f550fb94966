// What a choice between two answers costs, and its derivative. The same code on the CPU and on GPUs, in f64.
//
//   h_i = beta (value_i - reference_i)        lead = h_chosen - h_rejected - margin
//   sigmoid    -(1 - s) log sigmoid(lead) - s log sigmoid(-lead) + center (h_chosen + h_rejected)^2        s: smoothing
//   ipo        (lead / beta - 1 / (2 beta))^2                   hinge   max(0, 1 - lead)
//   pointwise  -y log sigmoid(h) - (1 - y) log sigmoid(-h)      of a single answer with the label y
//
// Bradley and Terry as in arXiv:2203.02155 and DPO arXiv:2305.18290 with the smoothing of conservative DPO; margin arXiv:2307.09288,
// centering arXiv:2312.09244, IPO arXiv:2310.12036, hinge arXiv:2305.10425, pointwise arXiv:2501.12948, section 3.1.
#pragma once
#include <string>

#include "../native/tensor.h"

namespace moe::preference {

enum Kind : int { kSigmoid, kIpo, kHinge, kPointwise };

struct Objective {
  int kind;
  double beta, smoothing, center;
  double total;  ///< what the sum is divided by
};

/// Values of answers: of pairs, chosen and rejected in turn.
struct Batch {
  const double *values, *reference, *targets;  // [S], [S] or null; margins [S/2] or labels [S], or null for 0
  double* dvalues;                             // [S] or null
  constexpr double at(int64_t i, double beta) const { return beta * (reference ? values[i] - reference[i] : values[i]); }
  constexpr double target(int64_t i) const { return targets ? targets[i] : 0; }
};

/// exp and log1p come from the machine: M has both.
template <class M> constexpr double sigmoid(double x, M m) {
  const double e = m.exp(x < 0 ? x : -x);
  return x < 0 ? e / (1 + e) : 1 / (1 + e);
}
/// Exact also where sigmoid(x) rounds to 0 or 1.
template <class M> constexpr double logSigmoid(double x, M m) { return (x < 0 ? x : 0) - m.log1p(m.exp(x < 0 ? x : -x)); }

/// A value and its derivative by the lead.
struct Term {
  double value, slope;
};

template <class M> constexpr Term termOf(double lead, const Objective& o, M m) {
  if (o.kind == kHinge) return lead >= 1 ? Term{0, 0} : Term{1 - lead, -1};
  if (o.kind == kIpo) {
    const double off = lead / o.beta - 1 / (2 * o.beta);
    return {off * off, 2 * off / o.beta};
  }
  return {-(1 - o.smoothing) * logSigmoid(lead, m) - o.smoothing * logSigmoid(-lead, m),
          o.smoothing * sigmoid(lead, m) - (1 - o.smoothing) * sigmoid(-lead, m)};
}

/// The part of pair i in the loss; writes the gradient of its two values.
template <class M> constexpr double pairLoss(const Batch& b, int64_t i, const Objective& o, M m) {
  const double chosen = b.at(2 * i, o.beta), rejected = b.at(2 * i + 1, o.beta), both = chosen + rejected;
  const Term term = termOf(chosen - rejected - b.target(i), o, m);
  if (b.dvalues) {
    b.dvalues[2 * i] = o.beta * (2 * o.center * both + term.slope) / o.total;
    b.dvalues[2 * i + 1] = o.beta * (2 * o.center * both - term.slope) / o.total;
  }
  return (term.value + o.center * both * both) / o.total;
}

/// The same of one answer with its label.
template <class M> constexpr double answerLoss(const Batch& b, int64_t i, const Objective& o, M m) {
  const double h = b.at(i, o.beta), label = b.target(i);
  if (b.dvalues) b.dvalues[i] = o.beta * (sigmoid(h, m) - label) / o.total;
  return -(label * logSigmoid(h, m) + (1 - label) * logSigmoid(-h, m)) / o.total;
}

/// Losses to be summed: pairs, or single answers.
constexpr int64_t countOf(int64_t values, const Objective& o) { return o.kind == kPointwise ? values : values / 2; }
/// @throws Error("bad-argument") when a side is missing or the margins or labels are not as many
static inline void check(int64_t values, int64_t targets, const Objective& o) {
  if (values % (o.kind == kPointwise ? 1 : 2)) throw Error("bad-argument", "preference_loss: pairs have two values each, but there are " + std::to_string(values) + ".");
  if (targets != countOf(values, o)) throw Error("bad-argument", "preference_loss: there are " + std::to_string(targets) + " margins or labels for " + std::to_string(countOf(values, o)) + " choices.");
}
template <class M> constexpr double lossOf(const Batch& b, int64_t i, const Objective& o, M m) {
  return o.kind == kPointwise ? answerLoss(b, i, o, m) : pairLoss(b, i, o, m);
}

}  // namespace moe::preference
