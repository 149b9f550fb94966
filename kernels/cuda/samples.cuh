// Samples laid end to end: sample i has the tokens starts[i] to starts[i+1], and token t is row rows[t] of a tensor. Bounds and
// rows are to rise; a kernel finds out on the way.
#pragma once
#include "cuda.cuh"

namespace moe::cuda {

struct Samples {
  const int32_t *rows, *starts;
  int64_t samples, tokens, count;  // count: rows of the tensor
  int32_t* fault;

  /// Whether the bounds of a sample are those of some tokens.
  __device__ bool holds(int64_t sample) const {
    const int64_t begin = starts[sample], end = starts[sample + 1];
    return (sample > 0 || begin == 0) && (sample < samples - 1 || end == tokens) && begin >= 0 && begin <= end && end <= tokens;
  }
  /// Whether token t has a row of its own.
  __device__ bool named(int64_t t) const { return rows[t] > (t ? rows[t - 1] : -1) && rows[t] < count; }

  /// body(t) for this thread's tokens of the block's sample. False, for the whole block, when something is wrong with them.
  template <class F> __device__ bool each(int64_t sample, double* reduce, F&& body) const {
    bool wrong = !holds(sample);
    for (int64_t t = starts[sample] + threadIdx.x; t < starts[sample + 1] && !wrong; t += blockDim.x) {
      wrong = !named(t);
      if (!wrong) body(t);
    }
    if (blockSum(wrong ? 1. : 0., reduce) == 0) return true;
    if (threadIdx.x == 0) *fault = static_cast<int32_t>(machine::Fault::token);
    return false;
  }
};

inline Samples samplesOf(const In& rows, const In& starts, int64_t count) {
  return {rows.as<int32_t>(), starts.as<int32_t>(), starts.size() - 1, rows.size(), count, machine::faultWord()};
}

/// Before some rows are written: the others are to be 0, where nothing is added to.
inline void clearRows(const Acc& x) {
  if (!x || x.beta != 0) return;
  Out all;
  static_cast<View&>(all) = x;
  fill(all, 0);
}

}  // namespace moe::cuda
