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
#include "best.h"
#include "elementwise.h"

namespace moe::MOE_ISA {

namespace {

constexpr int64_t kTokensPerTask = 32;
constexpr int64_t kMaxGroups = 256;

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
  if (sigmoidGate) return map(s, n, [](vec z) { return sigmoid(z); }, logits);
  float largest = logits[0];
  for (int64_t e = 1; e < n; e++) largest = logits[e] > largest ? logits[e] : largest;
  map(s, n, [largest](vec z) { return exp(z - largest); }, logits);
  const float total = reduce(n, [](vec v) { return v; }, static_cast<const float*>(s));
  map(s, n, [total](vec v) { return v / total; }, static_cast<const float*>(s));
}

/// A worker's room for choosing: scores c of all experts, and the best so far.
struct Room {
  float *c, *value;
  int32_t* index;

  Room(int worker, const Choice& choice) {
    int64_t most = choice.active > choice.groups ? choice.active : choice.groups;
    if (choice.groupBest > most) most = choice.groupBest;
    c = static_cast<float*>(parallel::scratch(worker, 0, (choice.experts + 2 * most) * static_cast<int64_t>(sizeof(float))));
    value = c + choice.experts;
    index = reinterpret_cast<int32_t*>(value + most);
  }
};

/// Marks the best groups.
void chooseGroups(const Room& room, const Choice& choice, bool* kept) {
  const int64_t each = choice.experts / choice.groups;
  float score[kMaxGroups];
  for (int64_t g = 0; g < choice.groups; g++) {
    Best best{room.value, room.index, choice.groupBest};
    best.offerAll(room.c + g * each, each, 0);
    score[g] = 0;
    for (int64_t k = 0; k < best.held; k++) score[g] += best.value[k];
    kept[g] = false;
  }
  Best best{room.value, room.index, choice.topGroups};
  best.offerAll(score, choice.groups, 0);
  for (int64_t k = 0; k < choice.topGroups; k++) kept[best.index[k]] = true;
}

/// The K best experts of the best groups, in descending order of c.
void choose(const Room& room, int32_t* experts, const Choice& choice) {
  bool kept[kMaxGroups] = {true};
  if (choice.groups > 1) chooseGroups(room, choice, kept);
  const int64_t each = choice.experts / choice.groups;
  Best best{room.value, experts, choice.active};
  for (int64_t g = 0; g < choice.groups; g++)
    if (kept[g]) best.offerAll(room.c + g * each, each, g * each);
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
  if (c.groupBest < 1 || c.groupBest > c.experts / c.groups) fail("a group's score cannot be the sum of its " + std::to_string(c.groupBest) + " best experts of " + std::to_string(c.experts / c.groups) + ".");
  if (c.topGroups < 1 || c.topGroups > c.groups) fail(std::to_string(c.topGroups) + " of " + std::to_string(c.groups) + " groups cannot be kept.");
  if (c.active > c.topGroups * (c.experts / c.groups)) fail(std::to_string(c.active) + " experts per token are more than the kept groups hold.");
}

/// A token's experts are replayed all or none (-1).
void checkReplay(const In& replay, int64_t experts) {
  const int64_t each = replay.shape[1];
  for (int64_t i = 0; i < replay.size(); i++) {
    const int32_t e = replay.as<int32_t>()[i], first = replay.as<int32_t>()[i - i % each];
    if (e >= experts || (e < 0) != (first < 0))
      throw Error("bad-argument", "router_forward: replay names expert " + std::to_string(e) + " of " + std::to_string(experts) + " for token " + std::to_string(i / each) +
                                      "; a token has only experts, or only -1.");
  }
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
      const Room room(worker, choice);
      for (int64_t e = 0; e < n; e++) room.c[e] = s[e] + (bias ? bias.as<float>()[e] : 0.f);
      choose(room, chosen, choice);
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
