// Lists of tensors as one loop: each tensor is cut into blocks, and the blocks of all tensors are the tasks.
#pragma once
#include "cpu.h"

namespace moe::MOE_ISA {

/// Runs body(item, begin, end, task) over blocks of `each` elements of all tensors whose size(item) is not 0; tasks are numbered
/// tensor by tensor. `table` holds count + 1 numbers and gets the first task of each tensor.
template <class Size, class F> void overSegments(int64_t* table, int64_t count, int64_t each, Size&& size, F&& body) {
  table[0] = 0;
  for (int64_t i = 0; i < count; i++) table[i + 1] = table[i] + divideUp(size(i), each);
  parallel::loop(table[count], [&](int64_t task, int) {
    int64_t item = 0, after = count;  // the last tensor whose first task is not beyond this one
    while (after - item > 1) {
      const int64_t middle = (item + after) / 2;
      (table[middle] <= task ? item : after) = middle;
    }
    const int64_t begin = (task - table[item]) * each, all = size(item);
    body(item, begin, begin + each < all ? begin + each : all, task);
  });
}

/// Memory for the table of overSegments(), and behind it `extra` numbers of 8 bytes.
inline int64_t* segmentTable(int64_t count, int64_t extra = 0) {
  return static_cast<int64_t*>(parallel::shared((count + 1 + extra) * static_cast<int64_t>(sizeof(int64_t))));
}

}  // namespace moe::MOE_ISA
