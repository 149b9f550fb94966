// One token per row of logits.
//
//   penalty    logits of ids in the history are divided (positive) or multiplied (negative) by it
//   order      temperature, then top-k, top-p, min-p, then one draw from what is left
//   logprob    log softmax(logits / temperature) at the token, before penalty and truncation; at temperature 0 (greedy) as
//              if it were 1
//
// How it runs: a row is a task. Nothing is sorted: what top-k and top-p keep is "all logits above a threshold", which is
// found by bisecting on the logit with one pass over the row a step; ties at the threshold go to the smaller ids. The
// draw is the inverse of the cumulative sum in the order of ids at u = uniform(seed, position), so it depends on nothing
// else. A row of 130k logits is read about 30 times from cache.
#include "cpu.h"
#include "random.h"

namespace moe::MOE_ISA {

namespace {

constexpr int kBisections = 40;

struct Settings {
  float temperature, topP, minP, penalty;
};

struct Moments {
  float largest;
  double total;  // sum of exp(x - largest)
};

Moments softmaxMoments(const float* x, int64_t n) {
  vec high = splat(-INFINITY);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) high = vmax(high, load(x + i));
  float largest = maximum(high);
  for (; i < n; i++) largest = x[i] > largest ? x[i] : largest;
  double total = 0;
  for (i = 0; i + kLanes <= n; i += kLanes) total += sum(exp(load(x + i) - largest));
  for (; i < n; i++) total += std::exp(x[i] - largest);
  return {largest, total};
}

int64_t countAbove(const float* x, int64_t n, float threshold) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++) count += x[i] > threshold;
  return count;
}

double massAbove(const float* x, int64_t n, float threshold, float largest) {
  double mass = 0;
  for (int64_t i = 0; i < n; i++)
    if (x[i] > threshold) mass += std::exp(x[i] - largest);
  return mass;
}

/// The lowest value such that `enough(value)` is false for it and true for anything lower, to float precision: bisection on
/// the ordered integers behind the floats.
int32_t ordered(float x) {
  int32_t bits;
  memcpy(&bits, &x, 4);
  return bits >= 0 ? bits : static_cast<int32_t>(0x80000000u - static_cast<uint32_t>(bits));
}
float unordered(int32_t key) {
  const int32_t bits = key >= 0 ? key : static_cast<int32_t>(0x80000000u - static_cast<uint32_t>(key));
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
template <class F> float threshold(float low, float high, F&& enoughAbove) {
  int64_t a = ordered(low), b = ordered(high);  // enoughAbove(a) holds, enoughAbove(b) does not
  for (int step = 0; step < kBisections && b - a > 1; step++) {
    const int64_t middle = (a + b) / 2;
    if (enoughAbove(unordered(static_cast<int32_t>(middle)))) a = middle;
    else b = middle;
  }
  return unordered(static_cast<int32_t>(b));
}

float lowest(const float* x, int64_t n) {
  float low = x[0];
  for (int64_t i = 1; i < n; i++) low = x[i] < low ? x[i] : low;
  return low;
}

/// Sets to -inf all but the `keep` largest; of equal ones at the border the first stay.
void keepLargest(float* x, int64_t n, int64_t keep) {
  if (keep <= 0 || keep >= n) return;
  const float low = std::nextafter(lowest(x, n), -INFINITY), high = softmaxMoments(x, n).largest;
  // The border is the largest value with fewer than `keep` logits above it.
  const float border = threshold(low, high, [&](float t) { return countAbove(x, n, t) >= keep; });
  int64_t left = keep - countAbove(x, n, border);
  for (int64_t i = 0; i < n; i++) {
    if (x[i] > border) continue;
    if (x[i] == border && left > 0) left--;
    else x[i] = -INFINITY;
  }
}

/// Keeps the smallest set of the most likely tokens whose probability reaches p.
void keepNucleus(float* x, int64_t n, float p) {
  if (p >= 1) return;
  const Moments all = softmaxMoments(x, n);
  const double wanted = p * all.total;
  float low = all.largest;
  for (int64_t i = 0; i < n; i++)
    if (x[i] > -INFINITY && x[i] < low) low = x[i];
  low = std::nextafter(low, -INFINITY);
  const float border = threshold(low, all.largest, [&](float t) { return massAbove(x, n, t, all.largest) >= wanted; });
  double left = wanted - massAbove(x, n, border, all.largest);
  for (int64_t i = 0; i < n; i++) {
    if (x[i] > border) continue;
    if (x[i] == border && left > 0) left -= std::exp(x[i] - all.largest);
    else x[i] = -INFINITY;
  }
}

void keepLikely(float* x, int64_t n, float minP) {
  if (minP <= 0) return;
  const float border = softmaxMoments(x, n).largest + std::log(minP);
  for (int64_t i = 0; i < n; i++)
    if (x[i] < border) x[i] = -INFINITY;
}

void penalise(float* x, int64_t n, const int32_t* history, int64_t count, float penalty) {
  for (int64_t j = 0; j < count; j++) {
    const int64_t id = history[j];
    if (id < 0 || id >= n) continue;
    bool seen = false;  // once per id, however often it occurs
    for (int64_t i = 0; i < j && !seen; i++) seen = history[i] == id;
    if (!seen) x[id] = x[id] > 0 ? x[id] / penalty : x[id] * penalty;
  }
}

int64_t argmax(const float* x, int64_t n) {
  int64_t at = 0;
  for (int64_t i = 1; i < n; i++)
    if (x[i] > x[at]) at = i;
  return at;
}

/// The first id at which the cumulative probability passes u.
int64_t draw(const float* x, int64_t n, float u) {
  const Moments all = softmaxMoments(x, n);
  double left = u * all.total;
  int64_t last = 0;
  for (int64_t i = 0; i < n; i++) {
    if (x[i] == -INFINITY) continue;
    last = i;
    left -= std::exp(x[i] - all.largest);
    if (left < 0) return i;
  }
  return last;  // rounding left a crumb
}

/// Fills x with logits / temperature (1 for greedy).
template <class T> void scaled(const T* logits, float* x, int64_t n, float temperature) {
  const float factor = temperature > 0 ? 1 / temperature : 1;
  for (int64_t i = 0; i < n; i++) x[i] = widen(logits[i]) * factor;
}

}  // namespace

void sample(Out ids, Out logprob, In logits, In settings, In top_k, In seeds, MaybeIn history) {
  const int64_t rows = logits.shape[0], n = logits.shape[1], seen = history ? history.shape[1] : 0;
  dispatch(logits.dtype, [&](auto t) {
    using T = decltype(t);
    parallel::loop(rows, [&](int64_t r, int worker) {
      const float* given = settings.as<float>() + 4 * r;
      const Settings s{given[0], given[1], given[2], given[3]};
      const int32_t* seed = seeds.as<int32_t>() + 2 * r;
      auto* x = static_cast<float*>(parallel::scratch(worker, 0, 2 * n * static_cast<int64_t>(sizeof(float))));
      float* cut = x + n;
      scaled(logits.as<T>() + r * n, x, n, s.temperature);
      memcpy(cut, x, static_cast<size_t>(n) * sizeof(float));
      if (seen && s.penalty != 1) penalise(cut, n, history.as<int32_t>() + r * seen, seen, s.penalty);
      int64_t id;
      if (s.temperature <= 0) id = argmax(cut, n);
      else {
        keepLargest(cut, n, top_k.as<int32_t>()[r]);
        keepNucleus(cut, n, s.topP);
        keepLikely(cut, n, s.minP);
        const Philox p = philox(static_cast<uint32_t>(seed[0]), static_cast<uint32_t>(seed[1]), 1);
        id = draw(cut, n, uniform(p.word[0]));
      }
      const Moments all = softmaxMoments(x, n);
      ids.as<int32_t>()[r] = static_cast<int32_t>(id);
      logprob.as<float>()[r] = x[id] - all.largest - static_cast<float>(std::log(all.total));
    });
  });
}

}  // namespace moe::MOE_ISA
