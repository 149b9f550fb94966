// Choosing experts, and the gradient of their weights.
//
//   s = sigmoid(logits) or softmax(logits);  c = s + bias
//   a group's score is the sum of its `group_best` largest c; the best `top_groups` groups stay, then the best K experts
//   w_k = scale * s_k (/ sum of the chosen s when normalised)
//   backward, with u_k = dw_k * scale:  ds_k = u_k,  or (u_k - sum_j u_j s_j / S) / S when normalised;  ds += dscores
//   dlogits = ds * s * (1 - s)   or   s * (ds - sum ds * s)
//
// How it runs: a task takes some tokens; a token's row of E scores is read a few times from the first-level cache. E is
// small, so this is bound by latency, not by memory. DeepSeek-V2 section 2.2; V3 section 2.1.2.
#include "cpu.h"

namespace moe::MOE_ISA {

namespace {

constexpr int64_t kTokensPerTask = 32;
constexpr int64_t kMaxGroups = 256;
constexpr float kNone = -INFINITY;

struct Choice {
  int64_t experts, active, groups, topGroups, groupBest;
};

template <class F> void overTokens(int64_t tokens, F&& body) {
  parallel::loop(divideUp(tokens, kTokensPerTask), [&](int64_t task, int worker) {
    const int64_t end = (task + 1) * kTokensPerTask < tokens ? (task + 1) * kTokensPerTask : tokens;
    for (int64_t t = task * kTokensPerTask; t < end; t++) body(t, worker);
  });
}

void scoresOf(const float* logits, float* s, int64_t n, bool sigmoidGate) {
  if (sigmoidGate) {
    for (int64_t e = 0; e < n; e++) s[e] = 1.f / (1.f + std::exp(-logits[e]));
    return;
  }
  float largest = logits[0], total = 0;
  for (int64_t e = 1; e < n; e++) largest = logits[e] > largest ? logits[e] : largest;
  for (int64_t e = 0; e < n; e++) total += s[e] = std::exp(logits[e] - largest);
  for (int64_t e = 0; e < n; e++) s[e] /= total;
}

/// Index of the largest value, the first of equal ones.
int64_t best(const float* x, int64_t n) {
  int64_t at = 0;
  for (int64_t i = 1; i < n; i++)
    if (x[i] > x[at]) at = i;
  return at;
}

/// Sum of the `count` largest of x.
float sumOfBest(const float* x, int64_t n, int64_t count) {
  float sum = 0, above = INFINITY;
  int64_t lastAt = -1;
  for (int64_t k = 0; k < count; k++) {  // the next one in the order (value descending, index ascending)
    int64_t at = -1;
    for (int64_t i = 0; i < n; i++) {
      const bool later = x[i] < above || (x[i] == above && i > lastAt);
      if (later && (at < 0 || x[i] > x[at])) at = i;
    }
    if (at < 0) break;
    sum += x[at];
    above = x[at];
    lastAt = at;
  }
  return sum;
}

/// Sets the choice scores of all but the best groups to -inf.
void keepGroups(float* c, const Choice& choice) {
  const int64_t each = choice.experts / choice.groups;
  float score[kMaxGroups];
  bool kept[kMaxGroups] = {};
  for (int64_t g = 0; g < choice.groups; g++) score[g] = sumOfBest(c + g * each, each, choice.groupBest);
  for (int64_t k = 0; k < choice.topGroups; k++) {
    const int64_t g = best(score, choice.groups);
    kept[g] = true;
    score[g] = kNone;
  }
  for (int64_t g = 0; g < choice.groups; g++)
    if (!kept[g])
      for (int64_t e = g * each; e < (g + 1) * each; e++) c[e] = kNone;
}

/// The K best experts, in descending order of c; uses up c.
void choose(float* c, int32_t* experts, const Choice& choice) {
  if (choice.groups > 1) keepGroups(c, choice);
  for (int64_t k = 0; k < choice.active; k++) {
    const int64_t e = best(c, choice.experts);
    experts[k] = static_cast<int32_t>(e);
    c[e] = kNone;
  }
}

void weigh(const float* s, const int32_t* experts, float* w, int64_t active, bool normalise, float scale) {
  float total = 0;
  for (int64_t k = 0; k < active; k++) total += s[experts[k]];
  const float factor = normalise ? scale / (total + 1e-20f) : scale;
  for (int64_t k = 0; k < active; k++) w[k] = s[experts[k]] * factor;
}

void checkChoice(const Choice& c) {
  const auto fail = [](const std::string& sentence) { throw Error("bad-argument", "router_forward: " + sentence); };
  if (c.groups < 1 || c.groups > kMaxGroups || c.experts % c.groups) fail(std::to_string(c.experts) + " experts do not fall into " + std::to_string(c.groups) + " equal groups (at most 256).");
  if (c.topGroups < 1 || c.topGroups > c.groups) fail(std::to_string(c.topGroups) + " of " + std::to_string(c.groups) + " groups cannot be kept.");
  if (c.active > c.topGroups * (c.experts / c.groups)) fail(std::to_string(c.active) + " experts per token are more than the kept groups hold.");
}

void checkReplay(const In& replay, int64_t experts) {
  for (int64_t i = 0; i < replay.size(); i++)
    if (replay.as<int32_t>()[i] >= experts)
      throw Error("bad-argument", "router_forward: replay names expert " + std::to_string(replay.as<int32_t>()[i]) + " of " + std::to_string(experts) + ".");
}

}  // namespace

void router_forward(Out weights, Out experts, Out scores, Out counts, In logits, MaybeIn bias, MaybeIn active, MaybeIn replay,
                    int64_t groups, int64_t top_groups, int64_t group_best, bool sigmoid, bool normalise, float scale) {
  const int64_t tokens = logits.shape[0], n = logits.shape[1], each = weights.shape[1];
  const Choice choice{n, each, groups, top_groups, group_best};
  checkChoice(choice);
  if (replay) checkReplay(replay, n);
  overTokens(tokens, [&](int64_t t, int worker) {
    float* s = scores.as<float>() + t * n;
    int32_t* chosen = experts.as<int32_t>() + t * each;
    float* w = weights.as<float>() + t * each;
    scoresOf(logits.as<float>() + t * n, s, n, sigmoid);
    const bool off = (active && active.as<int32_t>()[t] == 0) || (replay && replay.as<int32_t>()[t * each] < 0);
    if (off) {
      for (int64_t k = 0; k < each; k++) {
        chosen[k] = -1;
        w[k] = 0;
      }
      return;
    }
    if (replay) memcpy(chosen, replay.as<int32_t>() + t * each, static_cast<size_t>(each) * sizeof(int32_t));
    else {
      auto* c = static_cast<float*>(parallel::scratch(worker, 0, n * static_cast<int64_t>(sizeof(float))));
      for (int64_t e = 0; e < n; e++) c[e] = s[e] + (bias ? bias.as<float>()[e] : 0.f);
      choose(c, chosen, choice);
    }
    weigh(s, chosen, w, each, normalise, scale);
  });
  int32_t* count = counts.as<int32_t>();
  memset(count, 0, static_cast<size_t>(n) * sizeof(int32_t));
  for (int64_t i = 0; i < tokens * each; i++)
    if (experts.as<int32_t>()[i] >= 0) count[experts.as<int32_t>()[i]]++;
}

void router_backward(Acc dlogits, In dweights, MaybeIn dscores, In weights, In experts, In scores, bool sigmoid, bool normalise, float scale) {
  if (!dlogits) return;
  const int64_t tokens = scores.shape[0], n = scores.shape[1], each = weights.shape[1];
  overTokens(tokens, [&](int64_t t, int worker) {
    const float* s = scores.as<float>() + t * n;
    const float* dw = dweights.as<float>() + t * each;
    const int32_t* chosen = experts.as<int32_t>() + t * each;
    auto* ds = static_cast<float*>(parallel::scratch(worker, 0, n * static_cast<int64_t>(sizeof(float))));
    for (int64_t e = 0; e < n; e++) ds[e] = dscores ? dscores.as<float>()[t * n + e] : 0.f;
    if (chosen[0] >= 0) {
      float total = 1e-20f, mean = 0;
      for (int64_t k = 0; k < each; k++) total += s[chosen[k]];
      for (int64_t k = 0; k < each; k++) mean += dw[k] * s[chosen[k]] / total;
      for (int64_t k = 0; k < each; k++) ds[chosen[k]] += normalise ? scale * (dw[k] - mean) / total : scale * dw[k];
    }
    float shared = 0;
    if (!sigmoid)
      for (int64_t e = 0; e < n; e++) shared += ds[e] * s[e];
    float* out = dlogits.as<float>() + t * n;
    for (int64_t e = 0; e < n; e++) {
      const float value = sigmoid ? ds[e] * s[e] * (1 - s[e]) : s[e] * (ds[e] - shared);
      out[e] = dlogits.beta == 0 ? value : out[e] + value;
    }
  });
}

}  // namespace moe::MOE_ISA
