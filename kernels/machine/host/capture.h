// A graph on the emulator: the launches that were recorded, and the scratch memory that they use.
#pragma once
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

namespace moe::machine {

struct Recording {
  std::vector<std::function<void()>> launches;
  std::vector<std::pair<void*, size_t>> scratch;
};

/// The graph being recorded, or null when launches run.
Recording* capturing();

}  // namespace moe::machine
