// Normal numbers for initial weights: y = mean + deviation * z, by Box-Muller from Philox, four at a time.
#include "random.h"

#include "cpu.h"

namespace moe::MOE_ISA {

namespace {
constexpr int64_t kBlock = 4096;  // a multiple of 4
}

void random_normal(Out y, float mean, float deviation, int64_t seed) {
  const int64_t n = y.size();
  dispatch(y.dtype, [&](auto t) {
    using T = decltype(t);
    parallel::loop(divideUp(n, kBlock), [&](int64_t task, int) {
      const int64_t end = (task + 1) * kBlock < n ? (task + 1) * kBlock : n;
      for (int64_t i = task * kBlock; i < end; i += 4) {
        const Philox p = philox(static_cast<uint64_t>(seed), static_cast<uint64_t>(i / 4));
        float z[4];
        for (int pair = 0; pair < 2; pair++) {
          const float radius = std::sqrt(-2.f * std::log(uniform(p.word[2 * pair])));
          const float angle = 6.2831853f * uniform(p.word[2 * pair + 1]);
          z[2 * pair] = radius * std::cos(angle);
          z[2 * pair + 1] = radius * std::sin(angle);
        }
        for (int64_t j = i; j < end && j < i + 4; j++) put(y.as<T>() + j, mean + deviation * z[j - i]);
      }
    });
  });
}

}  // namespace moe::MOE_ISA
