// The order of routed rows, and the sum that brings them back to their tokens.
//
//   plan      rows sorted by expert, tokens in order within one (stable counting sort)
//   combine   y[t] = sum_k weights[t,k] * x[inverse[t,k]]
//   backward  dx[inverse[t,k]] = weights[t,k] * dy[t],   dweights[t,k] = <dy[t], x[inverse[t,k]]>
//
// How it runs: the plan is one pass over T*K small integers, on one thread. Combine is bound by memory: tokens are cut
// into tasks, each row of x is read once, and no two tasks write the same row.
#include "elementwise.h"

namespace moe::MOE_ISA {

namespace {

constexpr int64_t kTokensPerTask = 32;
constexpr int64_t kAhead = 2;  // tokens: their rows lie wherever their experts put them, so they are asked for before they are read

template <class F> void overTokens(int64_t tokens, F&& body) {
  parallel::loop(divideUp(tokens, kTokensPerTask), [&](int64_t task, int) {
    const int64_t end = (task + 1) * kTokensPerTask < tokens ? (task + 1) * kTokensPerTask : tokens;
    for (int64_t t = task * kTokensPerTask; t < end; t++) body(t);
  });
}

/// Rows of x are read by these numbers, so they are looked at before any work starts.
void checkInverse(const char* op, const In& inverse, int64_t rows) {
  const int32_t* slot = inverse.as<int32_t>();
  for (int64_t i = 0; i < inverse.size(); i++)
    if (slot[i] < -1 || slot[i] >= rows)
      throw Error("bad-argument", std::string(op) + ": inverse[" + std::to_string(i) + "] is " + std::to_string(slot[i]) + "; x has rows 0 to " + std::to_string(rows - 1) +
                                      ", -1 stands for none.");
}

/// Asks for the rows of x that `count` slots name.
template <bool write, class T> void askFor(const T* x, const int32_t* slot, int64_t count, int64_t width) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T)), kMost = 16 * kLine;  // the CPU foresees the rest of a long row
  for (int64_t k = 0; k < count; k++)
    if (slot[k] >= 0)
      for (int64_t c = 0; c < width && c < kMost; c += kLine) __builtin_prefetch(x + slot[k] * width + c, write);
}

/// y = sum_k w[k] * x[slot[k]], slots below 0 left out. Several vectors at a time, so that additions do not wait for each other.
template <class T> void combineToken(T* y, const T* x, const int32_t* slot, const float* w, int64_t count, int64_t width) {
  constexpr int kPieces = 2;
  int64_t c = 0;
  for (; c + kPieces * kTwo <= width; c += kPieces * kTwo) {
    Two sums[kPieces] = {};
    for (int64_t k = 0; k < count; k++) {
      if (slot[k] < 0) continue;
      const vec weight = splat(w ? w[k] : 1.f);
      for (int v = 0; v < kPieces; v++) {
        const Two from = loadTwo(x + slot[k] * width + c + v * kTwo);
        sums[v] = {fma(weight, from.a, sums[v].a), fma(weight, from.b, sums[v].b)};
      }
    }
    for (int v = 0; v < kPieces; v++) storeTwo(y + c + v * kTwo, sums[v]);
  }
  for (; c < width; c += kLanes) {
    const int left = static_cast<int>(width - c < kLanes ? width - c : kLanes);
    vec sum{};
    for (int64_t k = 0; k < count; k++)
      if (slot[k] >= 0) sum = fma(splat(w ? w[k] : 1.f), loadPart(x + slot[k] * width + c, left), sum);
    storePart(y + c, sum, left);
  }
}

/// Clears the rows of dx that no token refers to, and refuses a row that two refer to: their tasks would race.
void clearUnused(const Acc& dx, const In& inverse) {
  const int64_t rows = dx.shape[0], bytesOfRow = dx.shape[1] * bytes(dx.dtype);
  auto* used = static_cast<uint8_t*>(parallel::shared(rows));
  memset(used, 0, static_cast<size_t>(rows));
  for (int64_t i = 0; i < inverse.size(); i++) {
    const int32_t slot = inverse.as<int32_t>()[i];
    if (slot < 0) continue;
    if (used[slot]++) throw Error("bad-argument", "combine_backward: inverse names row " + std::to_string(slot) + " twice; every row belongs to one token.");
  }
  if (dx.beta != 0) return;
  for (int64_t m = 0; m < rows; m++)
    if (!used[m]) memset(dx.as<char>() + m * bytesOfRow, 0, static_cast<size_t>(bytesOfRow));
}

}  // namespace

void moe_plan(Out offsets, Out rows, Out inverse, In experts) {
  const int64_t count = offsets.shape[0] - 1, tokens = experts.shape[0], each = experts.shape[1];
  const int32_t* expert = experts.as<int32_t>();
  int32_t* offset = offsets.as<int32_t>();
  if (rows.size() < tokens * each)
    throw Error("bad-argument", "moe_plan: rows holds " + std::to_string(rows.size()) + " numbers, but " + std::to_string(tokens * each) + " choices may be routed.");
  memset(offset, 0, static_cast<size_t>(count + 1) * sizeof(int32_t));
  for (int64_t i = 0; i < tokens * each; i++) {
    if (expert[i] >= count)
      throw Error("bad-argument", "moe_plan: token " + std::to_string(i / each) + " chose expert " + std::to_string(expert[i]) + " of " + std::to_string(count) + ".");
    if (expert[i] >= 0) offset[expert[i] + 1]++;
  }
  for (int64_t e = 0; e < count; e++) offset[e + 1] += offset[e];
  auto* next = static_cast<int32_t*>(parallel::shared(count * static_cast<int64_t>(sizeof(int32_t))));
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
  checkInverse("combine_forward", inverse, x.shape[0]);
  dispatch(y.dtype, [&](auto t) {
    using T = decltype(t);
    overTokens(tokens, [&](int64_t token) {
      const float* w = weights ? weights.as<float>() + token * each : nullptr;
      if (token + kAhead < tokens) askFor<false>(x.as<T>(), inverse.as<int32_t>() + (token + kAhead) * each, each, width);
      combineToken(y.as<T>() + token * width, x.as<T>(), inverse.as<int32_t>() + token * each, w, each, width);
    });
  });
}

void combine_backward(Acc dx, Acc dweights, In dy, In x, In inverse, MaybeIn weights) {
  const int64_t tokens = dy.shape[0], width = dy.shape[1], each = inverse.shape[1];
  checkInverse("combine_backward", inverse, x.shape[0]);
  if (dx) clearUnused(dx, inverse);
  dispatch(dy.dtype, [&](auto t) {
    using T = decltype(t);
    overTokens(tokens, [&](int64_t token) {
      const T* from = dy.as<T>() + token * width;
      if (token + kAhead < tokens) {
        const int32_t* soon = inverse.as<int32_t>() + (token + kAhead) * each;
        if (dweights) askFor<false>(x.as<T>(), soon, each, width);
        if (dx) askFor<true>(dx.as<T>(), soon, each, width);
      }
      for (int64_t k = 0; k < each; k++) {
        const int64_t i = token * each + k, slot = inverse.as<int32_t>()[i];
        if (dweights) {
          const float value = slot < 0 ? 0.f : reduce(width, [](vec g, vec v) { return g * v; }, from, x.as<T>() + slot * width);
          float* to = dweights.as<float>() + i;
          *to = dweights.beta == 0 ? value : *to + value;
        }
        if (!dx || slot < 0) continue;
        const float weight = weights ? weights.as<float>()[i] : 1.f;
        accumulate(dx.beta, dx.as<T>() + slot * width, width, [weight](vec g) { return weight * g; }, from);
      }
    });
  });
}

}  // namespace moe::MOE_ISA
