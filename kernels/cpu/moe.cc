// The order of routed rows, and the sum that brings them back to their tokens.
//
//   plan      rows sorted by expert, tokens in order within one (stable counting sort)
//   combine   y[t] = sum_k weights[t,k] * x[inverse[t,k]]
//   backward  dx[inverse[t,k]] = weights[t,k] * dy[t],   dweights[t,k] = <dy[t], x[inverse[t,k]]>
//
// How it runs: the plan is one pass over T*K small integers, on one thread. Combine is bound by memory: tokens are cut
// into tasks, each row of x is read once, and no two tasks write the same row.
#include "cpu.h"

namespace moe::MOE_ISA {

namespace {

constexpr int64_t kTokensPerTask = 32;

template <class F> void overTokens(int64_t tokens, F&& body) {
  parallel::loop(divideUp(tokens, kTokensPerTask), [&](int64_t task, int) {
    const int64_t end = (task + 1) * kTokensPerTask < tokens ? (task + 1) * kTokensPerTask : tokens;
    for (int64_t t = task * kTokensPerTask; t < end; t++) body(t);
  });
}

/// y[c] = sum_k w[k] * x[slot[k]][c], slots below 0 left out.
template <class T> void combineToken(T* y, const T* x, const int32_t* slot, const float* w, int64_t count, int64_t width) {
  int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) {
    vec sum{};
    for (int64_t k = 0; k < count; k++)
      if (slot[k] >= 0) sum = fma(splat(w ? w[k] : 1.f), load(x + slot[k] * width + c), sum);
    store(y + c, sum);
  }
  for (; c < width; c++) {
    float sum = 0;
    for (int64_t k = 0; k < count; k++)
      if (slot[k] >= 0) sum += (w ? w[k] : 1.f) * widen(x[slot[k] * width + c]);
    put(y + c, sum);
  }
}

template <class T> float inner(const T* a, const T* b, int64_t width) {
  vec lanes{};
  int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) lanes = fma(load(a + c), load(b + c), lanes);
  float total = sum(lanes);
  for (; c < width; c++) total += widen(a[c]) * widen(b[c]);
  return total;
}

template <class T> void scaleInto(T* to, const T* from, float scale, float beta, int64_t width) {
  int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) {
    const vec value = scale * load(from + c);
    store(to + c, beta == 0 ? value : load(to + c) + value);
  }
  for (; c < width; c++) put(to + c, scale * widen(from[c]) + (beta == 0 ? 0.f : widen(to[c])));
}

}  // namespace

void moe_plan(Out offsets, Out rows, Out inverse, In experts) {
  const int64_t count = offsets.shape[0] - 1, tokens = experts.shape[0], each = experts.shape[1];
  const int32_t* expert = experts.as<int32_t>();
  int32_t* offset = offsets.as<int32_t>();
  memset(offset, 0, static_cast<size_t>(count + 1) * sizeof(int32_t));
  for (int64_t i = 0; i < tokens * each; i++) {
    if (expert[i] >= count)
      throw Error("bad-argument", "moe_plan: token " + std::to_string(i / each) + " chose expert " + std::to_string(expert[i]) + " of " + std::to_string(count) + ".");
    if (expert[i] >= 0) offset[expert[i] + 1]++;
  }
  for (int64_t e = 0; e < count; e++) offset[e + 1] += offset[e];
  auto* next = static_cast<int32_t*>(parallel::scratch(0, 3, count * static_cast<int64_t>(sizeof(int32_t))));
  memcpy(next, offset, static_cast<size_t>(count) * sizeof(int32_t));
  int32_t* row = rows.as<int32_t>();
  for (int64_t i = 0; i < tokens * each; i++) {
    const int32_t slot = expert[i] < 0 ? -1 : next[expert[i]]++;
    inverse.as<int32_t>()[i] = slot;
    if (slot >= 0) row[slot] = static_cast<int32_t>(i / each);
  }
  for (int64_t m = offset[count]; m < rows.size(); m++) row[m] = 0;
}

void combine_forward(Out y, In x, In inverse, MaybeIn weights) {
  const int64_t tokens = y.shape[0], width = y.shape[1], each = inverse.shape[1];
  dispatch(y.dtype, [&](auto t) {
    using T = decltype(t);
    overTokens(tokens, [&](int64_t token) {
      const float* w = weights ? weights.as<float>() + token * each : nullptr;
      combineToken(y.as<T>() + token * width, x.as<T>(), inverse.as<int32_t>() + token * each, w, each, width);
    });
  });
}

void combine_backward(Acc dx, Acc dweights, In dy, In x, In inverse, MaybeIn weights) {
  const int64_t tokens = dy.shape[0], width = dy.shape[1], each = inverse.shape[1];
  dispatch(dy.dtype, [&](auto t) {
    using T = decltype(t);
    if (dx && dx.beta == 0) {
      // Rows that no token refers to lie behind the routed ones; count those and clear the rest.
      int64_t routed = 0;
      for (int64_t i = 0; i < tokens * each; i++) routed += inverse.as<int32_t>()[i] >= 0;
      if (routed < dx.shape[0]) memset(dx.as<T>(), 0, static_cast<size_t>(dx.size()) * sizeof(T));
    }
    overTokens(tokens, [&](int64_t token) {
      const T* from = dy.as<T>() + token * width;
      for (int64_t k = 0; k < each; k++) {
        const int64_t i = token * each + k, slot = inverse.as<int32_t>()[i];
        if (dweights) {
          const float value = slot < 0 ? 0.f : inner(from, x.as<T>() + slot * width, width);
          float* to = dweights.as<float>() + i;
          *to = dweights.beta == 0 ? value : *to + value;
        }
        if (dx && slot >= 0) scaleInto(dx.as<T>() + slot * width, from, weights ? weights.as<float>()[i] : 1.f, dx.beta, width);
      }
    });
  });
}

}  // namespace moe::MOE_ISA
