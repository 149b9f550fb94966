// Calls recorded once and made again as a whole.
#pragma once
#include <functional>
#include <memory>
#include <unordered_set>
#include <utility>
#include <vector>

#include "memory.h"

namespace moe {

/// A list of calls with their arguments, the memory that they know, and, where the backend can, the device's own form of the
/// list. Recording runs each call as usual; launch() makes them all again, on whatever the tensors then hold. The device's form
/// is made at the first launch, when memory is allocated and kernels are set up.
class Graph {
 public:
  explicit Graph(Allocator* allocator) : allocator_(allocator) { allocator->record(&arena_); }
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  const Allocator* allocator() const { return allocator_; }
  void add(std::function<void()> call) { calls_.push_back(std::move(call)); }
  /// A recorded call uses the buffer: it lives as long as the graph.
  void uses(Buffer* buffer, bool writes);
  /// A recorded call points into that memory.
  void keeps(std::shared_ptr<void> memory) { lists_.push_back(std::move(memory)); }
  void close() { allocator_->record(nullptr); }  ///< ends the recording
  void launch();

  size_t calls() const { return calls_.size(); }
  size_t bytes() const { return arena_.bytes; }
  bool onDevice() const { return device_ != nullptr; }

 private:
  void recordOnDevice();
  Allocator* allocator_;
  Arena arena_;
  std::vector<std::function<void()>> calls_;
  std::vector<std::shared_ptr<void>> lists_;
  std::unordered_set<Buffer*> held_, written_;
  void* device_ = nullptr;
  bool tried_ = false;
};

}  // namespace moe
