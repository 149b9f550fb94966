// Names for profilers: `nsys profile -t cuda,nvtx` shows the model's blocks and ops. NVTX is NVIDIA's interface for that: a tool
// names its library in NVTX_INJECTION64_PATH, and the program opens it and asks for the functions that take the names.
#pragma once

namespace moe::profile {

/// True when a profiler listens. Without one, nothing below does anything.
bool active();
void push(const char* name);
void pop();

/// A range for as long as it lives.
class Range {
 public:
  explicit Range(const char* name) : on_(active()) {
    if (on_) push(name);
  }
  ~Range() {
    if (on_) pop();
  }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  bool on_;
};

}  // namespace moe::profile
