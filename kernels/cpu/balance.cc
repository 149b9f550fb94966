// Load-balance losses of V2 and V3, value and gradient at once.
//
//   per sequence of T tokens:  f_i = E/(K T) * count_i,  P_i = mean_t p_ti,  p = scores (divided by their sum: rescale)
//   expert         alpha * sum_i f_i P_i
//   device         alpha_device * sum_d f'_d P'_d,          f'_d = mean of f in d,            P'_d = sum of P in d
//   communication  alpha_communication * sum_d f''_d P''_d, f''_d = D/(M T) * tokens sent to d
//   loss = mean over sequences; f is constant in the gradient, so dL/dP_i is a number g_i and dp_ti = g_i / T.
//
// How it runs: a task takes one sequence; T*E values are read twice. Small beside everything else in a layer.
#include "best.h"

namespace moe::MOE_ISA {

namespace {

struct Terms {
  int64_t experts, active, devices, topDevices;
  bool rescale, ownTop;
  float alpha, device, communication;
};

/// Scratch of one sequence: per expert its share f, mean probability P and gradient g.
struct Sequence {
  double *f, *p, *g;
  float* value;    // the best scores of a token,
  int32_t* index;  // and whose they are
};

double rowSum(const float* s, const Terms& terms) {
  if (!terms.rescale) return 1;
  double sum = 0;
  for (int64_t e = 0; e < terms.experts; e++) sum += s[e];
  return sum > 0 ? sum : 1;
}

/// Fills f and P. Returns the number of tokens that were routed.
int64_t measure(const float* scores, const int32_t* experts, int64_t begin, int64_t end, const Terms& terms, const Sequence& q) {
  const int64_t n = terms.experts, each = terms.active;
  for (int64_t e = 0; e < n; e++) q.f[e] = q.p[e] = 0;
  int64_t tokens = 0;
  for (int64_t t = begin; t < end; t++) {
    const int32_t* chosen = experts + t * each;
    if (chosen[0] < 0) continue;
    const float* s = scores + t * n;
    tokens++;
    const double inverse = 1 / rowSum(s, terms);
    for (int64_t e = 0; e < n; e++) q.p[e] += s[e] * inverse;
    if (terms.ownTop) {
      Best best{q.value, q.index, each};
      best.offerAll(s, n, 0);
      chosen = best.index;
    }
    for (int64_t k = 0; k < each; k++)
      if (chosen[k] >= 0) q.f[chosen[k]]++;
  }
  if (tokens == 0) return 0;
  for (int64_t e = 0; e < n; e++) {
    q.f[e] *= static_cast<double>(n) / static_cast<double>(each * tokens);
    q.p[e] /= static_cast<double>(tokens);
  }
  return tokens;
}

/// Tokens of the sequence that reach device d.
int64_t sentTo(int64_t d, const int32_t* experts, int64_t begin, int64_t end, const Terms& terms) {
  const int64_t size = terms.experts / terms.devices;
  int64_t tokens = 0;
  for (int64_t t = begin; t < end; t++) {
    bool reaches = false;
    for (int64_t k = 0; k < terms.active; k++) {
      const int64_t e = experts[t * terms.active + k];
      reaches |= e >= 0 && e / size == d;
    }
    tokens += reaches;
  }
  return tokens;
}

/// Loss of one sequence; fills g = dL/dP.
double lossOf(const int32_t* experts, int64_t begin, int64_t end, int64_t tokens, const Terms& terms, const Sequence& q) {
  double loss = 0;
  for (int64_t e = 0; e < terms.experts; e++) {
    q.g[e] = terms.alpha * q.f[e];
    loss += q.g[e] * q.p[e];
  }
  const int64_t size = terms.devices > 0 ? terms.experts / terms.devices : 0;
  for (int64_t d = 0; d < terms.devices; d++) {
    double share = 0, probability = 0;
    for (int64_t e = d * size; e < (d + 1) * size; e++) {
      share += q.f[e] / static_cast<double>(size);
      probability += q.p[e];
    }
    const double sent = static_cast<double>(terms.devices) / static_cast<double>(terms.topDevices * tokens) *
                        static_cast<double>(terms.communication != 0 ? sentTo(d, experts, begin, end, terms) : 0);
    const double factor = terms.device * share + terms.communication * sent;
    loss += factor * probability;
    for (int64_t e = d * size; e < (d + 1) * size; e++) q.g[e] += factor;
  }
  return loss;
}

/// Tokens of no sequence get no gradient.
void clearOutside(const Acc& dscores, int64_t begin, int64_t end) {
  if (!dscores || dscores.beta != 0) return;
  const int64_t tokens = dscores.shape[0], row = dscores.shape[1];
  memset(dscores.as<float>(), 0, static_cast<size_t>(begin * row) * sizeof(float));
  memset(dscores.as<float>() + end * row, 0, static_cast<size_t>((tokens - end) * row) * sizeof(float));
}

/// dscores of one token, from g: through the mean over tokens and, when rescaled, through the division by the row's sum.
void spread(const float* s, float* out, float beta, double weight, const Terms& terms, const Sequence& q) {
  const double total = rowSum(s, terms);
  double mean = 0;
  if (terms.rescale)
    for (int64_t e = 0; e < terms.experts; e++) mean += q.g[e] * s[e] / total;
  for (int64_t e = 0; e < terms.experts; e++) {
    const float value = static_cast<float>(weight * (q.g[e] - mean) / total);
    out[e] = beta == 0 ? value : out[e] + value;
  }
}

}  // namespace

void balance_loss(Out loss, Acc dscores, In scores, In experts, In segments, bool rescale, bool own_top, float alpha,
                  int64_t devices, int64_t top_devices, float alpha_device, float alpha_communication) {
  const int64_t tokens = scores.shape[0], n = scores.shape[1], sequences = segments.shape[0] - 1;
  if (devices > 0 && n % devices) throw Error("bad-argument", "balance_loss: " + std::to_string(n) + " experts do not lie evenly on " + std::to_string(devices) + " devices.");
  if (sequences < 1) throw Error("bad-argument", "balance_loss: segments holds no sequence; give their bounds, the first 0.");
  const int32_t* bound = segments.as<int32_t>();
  for (int64_t i = 0; i < sequences; i++)
    if (bound[i] < 0 || bound[i] > bound[i + 1] || bound[i + 1] > tokens) throw Error("bad-argument", "balance_loss: segments must rise from 0 to the number of tokens.");
  for (int64_t i = 0; i < experts.size(); i++)
    if (experts.as<int32_t>()[i] >= n) throw Error("bad-argument", "balance_loss: a token chose expert " + std::to_string(experts.as<int32_t>()[i]) + " of " + std::to_string(n) + ".");
  if (own_top && experts.shape[1] > n) throw Error("bad-argument", "balance_loss: more experts per token than there are.");
  if (devices > 0 && top_devices < 1) throw Error("bad-argument", "balance_loss: top_devices must be 1 or more.");
  const Terms terms{n, experts.shape[1], devices, top_devices, rescale, own_top, alpha, alpha_device, alpha_communication};
  auto* losses = static_cast<double*>(parallel::shared(sequences * static_cast<int64_t>(sizeof(double))));
  parallel::loop(sequences, [&](int64_t i, int worker) {
    auto* room = static_cast<double*>(parallel::scratch(worker, 0, (3 * n + terms.active) * static_cast<int64_t>(sizeof(double))));
    auto* best = reinterpret_cast<float*>(room + 3 * n);
    const Sequence q{room, room + n, room + 2 * n, best, reinterpret_cast<int32_t*>(best + terms.active)};
    const int64_t begin = bound[i], end = bound[i + 1];
    const int64_t routed = measure(scores.as<float>(), experts.as<int32_t>(), begin, end, terms, q);
    losses[i] = routed ? lossOf(experts.as<int32_t>(), begin, end, routed, terms, q) : 0;
    if (!dscores) return;
    const double weight = routed ? 1.0 / (static_cast<double>(routed) * static_cast<double>(sequences)) : 0;
    for (int64_t t = begin; t < end; t++) {
      const bool counted = routed && experts.as<int32_t>()[t * terms.active] >= 0;
      spread(scores.as<float>() + t * n, dscores.as<float>() + t * n, dscores.beta, counted ? weight : 0, terms, q);
    }
  });
  clearOutside(dscores, bound[0], bound[sequences]);
  double sum = 0;
  for (int64_t i = 0; i < sequences; i++) sum += losses[i];
  *loss.as<float>() = static_cast<float>(sequences ? sum / static_cast<double>(sequences) : 0);
}

}  // namespace moe::MOE_ISA
