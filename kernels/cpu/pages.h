// Where the CPU's memory comes from.
#pragma once
#include <cstdint>

namespace moe::parallel {

/// Memory for std::free, 64-byte aligned at least; nullptr when there is no room. Large blocks ask for huge pages: fewer
/// page faults while fresh, fewer misses of the address cache ever after.
void* allocate(int64_t bytes);

}  // namespace moe::parallel
