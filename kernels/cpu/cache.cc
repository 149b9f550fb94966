// Writing new keys into a paged cache: cache[slots[r]] = x[r]; a negative slot is skipped. Slots of one call differ.
// What bounds it: copying the rows.
#include "cpu.h"

namespace moe::MOE_ISA {

void cache_write(Mut cache, In x, In slots) {
  const int64_t rows = x.shape[0], row = x.shape[1] * bytes(x.dtype), element = bytes(x.dtype);
  const int32_t* slot = slots.as<int32_t>();
  bool inside = true;
  for (int64_t r = 0; r < rows; r++) inside = inside && slot[r] < cache.shape[0];
  if (!inside) throw Error("bad-argument", "cache_write: a slot lies beyond the last row of the cache.");
  constexpr int64_t kGrain = 1 << 16;  // bytes of a task, about
  const int64_t grain = kGrain / (row + 1) + 1;
  parallel::loop(divideUp(rows, grain), [&](int64_t task, int) {
    for (int64_t r = task * grain; r < rows && r < (task + 1) * grain; r++) {
      if (slot[r] < 0) continue;
      memcpy(static_cast<char*>(cache.data) + slot[r] * cache.stride[0] * element,
             static_cast<const char*>(x.data) + r * x.stride[0] * element, row);
    }
  });
}

}  // namespace moe::MOE_ISA
