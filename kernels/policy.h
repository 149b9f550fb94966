// The policy loss of one token, and what a sample's tokens have in common. The same code on the CPU and on GPUs, in f64.
//
//   rho = pi / pi_old                                                 of the token, or (pi / pi_old)^(1/length) of its whole sample
//   loss = -w min(rho A, clip(rho, 1 - low, 1 + high) A) + beta KL    never above dualClip |A| where A < 0   (arXiv:1912.09729)
//   w = min(pi_old / pi_rollout, cap), or 0 throughout a sample with A < 0 whose mean ln(pi_rollout / pi) exceeds `mask`
//   KL of x = ln(pi_ref / pi):  k1 = -x    k2 = x^2 / 2    k3 = exp(x) - x - 1    k3 rho, whose gradient is that of KL(pi || pi_ref)
//
// PPO arXiv:1707.06347, GRPO arXiv:2402.03300, DAPO arXiv:2503.14476, GSPO arXiv:2507.18071; mask and k3 rho: DeepSeek-V3.2, 3.1.
// Exponents are bounded by 20: beyond them a term is constant. NaN passes through, so that it is seen in the loss.
#pragma once
#include <cstdint>

namespace moe::policy {

/// What is summed over tokens: the loss, and the statistics in the order of the op's `stats`.
enum Figure : int { kLoss, kTokens, kClippedLow, kClippedHigh, kDualClipped, kCapped, kMasked, kKl, kMoved };
inline constexpr int kFigures = 9;
inline constexpr double kLargestLog = 20;

enum Estimator : int { kK1, kK2, kK3, kUnbiased };

struct Objective {
  double clipLow, clipHigh;
  double dualClip;  ///< infinite: no bound
  bool whole;       ///< one ratio for a sample
  double cap;       ///< 0: no weights w
  double mask;      ///< infinite: no sample is left out
  double kl;
  int estimator;
  double divisor;   ///< of the sum over tokens,
  bool byLength;    ///< and each sample's part by its length too
};

/// Log-probabilities of a batch's tokens, laid end to end: token t is predicted by row rows[t].
struct Batch {
  const float* nll;                              // [T] -ln pi
  const int32_t* rows;                           // [R]
  const float *old, *reference, *rollout;        // [R] each, or null; without `old` it is pi itself
  constexpr double now(int64_t t) const { return -static_cast<double>(nll[rows[t]]); }
  constexpr double before(int64_t t) const { return old ? static_cast<double>(old[t]) : now(t); }
  constexpr double sampled(int64_t t) const { return rollout ? static_cast<double>(rollout[t]) : before(t); }
};

/// Sums over the tokens of a sample.
struct Drift {
  double moved = 0;   // ln pi - ln pi_old
  double weight = 0;  // ln pi_old - ln pi_rollout
  double left = 0;    // ln pi_sampled - ln pi
  constexpr void add(const Batch& b, int64_t t) {
    moved += b.now(t) - b.before(t);
    weight += b.before(t) - b.sampled(t);
    left += b.sampled(t) - b.now(t);
  }
};

/// What the tokens of a sample share.
struct Sample {
  double advantage, share;
  double logRatio, logWeight;  // of the whole sample, where that is asked for
  bool stale;
};

constexpr Sample sampleOf(double advantage, int64_t length, const Drift& sum, const Objective& o) {
  const double n = static_cast<double>(length);
  return {advantage, 1 / (o.byLength ? o.divisor * n : o.divisor), sum.moved / n, sum.weight / n, advantage < 0 && sum.left / n > o.mask};
}

/// A value and its derivative by ln pi.
struct Term {
  double value = 0, slope = 0;
  int clip = -1;  // which Figure counts it
};

constexpr double bounded(double x) { return x < -kLargestLog ? -kLargestLog : x > kLargestLog ? kLargestLog : x; }
constexpr bool beyond(double x) { return x < -kLargestLog || x > kLargestLog; }
template <class Exp> constexpr double k3(double x, Exp exp) { return exp(bounded(x)) - bounded(x) - 1; }

/// The clipped term. A sample's ratio stands in each of its tokens, so the derivative of their sum by one ln pi is again -rho A:
/// `length` terms with a `length`-th of it each.
template <class Exp> constexpr Term surrogate(double logRatio, double advantage, const Objective& o, Exp exp) {
  const double ratio = exp(bounded(logRatio));
  if (advantage > 0) {
    if (ratio > 1 + o.clipHigh) return {-(1 + o.clipHigh) * advantage, 0, kClippedHigh};
  } else if (ratio < 1 - o.clipLow) {
    return {-(1 - o.clipLow) * advantage, 0, kClippedLow};
  } else if (advantage < 0 && ratio > o.dualClip) {
    return {-o.dualClip * advantage, 0, kDualClipped};
  }
  return {-ratio * advantage, beyond(logRatio) ? 0 : -ratio * advantage, -1};
}

/// The estimate of KL(pi || pi_ref) from one token.
template <class Exp> constexpr Term divergence(double x, double moved, int estimator, Exp exp) {
  if (estimator == kK1) return {-x, 1, -1};
  if (estimator == kK2) return {x * x / 2, -x, -1};
  const Term plain{k3(x, exp), beyond(x) ? 0 : 1 - exp(x), -1};
  if (estimator == kK3) return plain;
  const double ratio = exp(bounded(moved));
  return {ratio * plain.value, ratio * (plain.slope + (beyond(moved) ? 0 : plain.value)), -1};
}

/// Adds token t to the figures. Returns d loss / d ln pi.
template <class Exp> constexpr double addToken(double (&figures)[kFigures], const Batch& b, int64_t t, const Sample& s, const Objective& o, Exp exp) {
  const double moved = b.now(t) - b.before(t);
  const Term term = s.stale ? Term{} : surrogate(o.whole ? s.logRatio : moved, s.advantage, o, exp);
  const bool weighted = o.cap > 0 && b.rollout;
  const double weight = weighted ? exp(bounded(o.whole ? s.logWeight : b.before(t) - b.sampled(t))) : 1;
  const bool held = weighted && weight > o.cap;
  const double w = held ? o.cap : weight;
  const double x = b.reference ? static_cast<double>(b.reference[t]) - b.now(t) : 0;
  const Term penalty = b.reference && o.kl != 0 ? divergence(x, moved, o.estimator, exp) : Term{};
  figures[kLoss] += s.share * (w * term.value + o.kl * penalty.value);
  figures[kTokens] += 1;
  figures[kClippedLow] += term.clip == kClippedLow;
  figures[kClippedHigh] += term.clip == kClippedHigh;
  figures[kDualClipped] += term.clip == kDualClipped;
  figures[kCapped] += held;
  figures[kMasked] += s.stale;
  figures[kKl] += k3(x, exp);
  figures[kMoved] += k3(moved, exp);
  return s.share * (w * term.slope + o.kl * penalty.slope);
}

}  // namespace moe::policy
