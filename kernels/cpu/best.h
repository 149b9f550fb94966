// The largest few of many, without sorting.
#pragma once
#include "cpu.h"

namespace moe::MOE_ISA {

/// Collects the `count` largest values offered, best first. Offer in the order of the indices: among equal values the first
/// one offered stays ahead. `value` and `index` have room for `count`.
struct Best {
  float* value;
  int32_t* index;
  int64_t count;
  int64_t held = 0;

  void offer(float x, int64_t i) {
    if (held == count && !(x > value[count - 1])) return;
    int64_t at = held < count ? held++ : count - 1;
    for (; at > 0 && x > value[at - 1]; at--) {
      value[at] = value[at - 1];
      index[at] = index[at - 1];
    }
    value[at] = x;
    index[at] = static_cast<int32_t>(i);
  }

  /// Offers x[0..n) as the indices first .. first + n. Once full, most vectors hold nothing better and are passed over.
  void offerAll(const float* x, int64_t n, int64_t first) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      if (held == count && !any(load(x + i) > splat(value[count - 1]))) continue;
      for (int64_t j = i; j < i + kLanes; j++) offer(x[j], first + j);
    }
    for (; i < n; i++) offer(x[i], first + i);
  }
};

}  // namespace moe::MOE_ISA
