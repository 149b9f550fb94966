// Memory that is handed out, counted and kept for reuse.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "backend.h"

namespace moe {

/// A repacked copy of a weight that a product keeps beside it; stale once `version` differs from the buffer's.
struct Packed {
  void* data = nullptr;
  size_t bytes = 0;
  uint64_t layout = 0;   ///< what the maker wrote: layout, offset and shape, hashed by it
  uint32_t version = 0;
};

class Allocator;
struct Arena;

/// One allocation. Views share it by count; the last one gives it back to the allocator.
struct Buffer {
  Allocator* owner = nullptr;
  void* data = nullptr;
  size_t bytes = 0;          ///< as asked for
  size_t capacity = 0;       ///< as handed out
  int views = 0;
  int tag = 0;
  uint32_t version = 1;      ///< raised by every op that writes it
  bool weight = false;       ///< a parameter: products may keep packed copies of it
  Arena* arena = nullptr;    ///< made while a graph was recorded: its memory stays with that graph
  Packed packed[4];
};

/// The memory of one recorded graph. A block that is dropped while the graph lives goes back here and to nobody else, because
/// every launch of the graph writes it again. Recorded calls know their buffers by address, so these stay too.
struct Arena {
  std::map<size_t, std::vector<void*>> free;
  std::unordered_set<Buffer*> live;
  std::vector<Buffer*> dropped;
  size_t bytes = 0;  ///< of all its blocks
};

/// Caching allocator over one backend: freed blocks are kept in size classes (8 a power of two, so at most 1/8 is wasted)
/// and reused. Every block carries a tag, so that "out of memory" can say who holds what.
class Allocator {
 public:
  explicit Allocator(const Backend* backend) : backend_(backend) {}
  ~Allocator() { trim(); }
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  const Backend* backend() const { return backend_; }
  /// `what` describes the tensor in the sentence of a failure.
  Buffer* create(size_t bytes, int tag, const std::function<std::string()>& what = nullptr);
  void drop(Buffer* buffer);                     ///< one view fewer
  void* take(size_t bytes, size_t& capacity);    ///< raw block, for packed copies
  void give(void* data, size_t capacity);
  void trim();                                   ///< returns cached blocks to the backend
  void limit(size_t bytes) { limit_ = bytes; }   ///< 0: none. For tests of exhaustion and for users' ceilings.
  std::string held() const;                      ///< "weights 4.00 MB, activations 1.20 MB": who holds what, the largest first
  size_t ceiling() const;                        ///< the limit, else what the device has; 0 when neither is known
  void record(Arena* arena) { arena_ = arena; }  ///< from now on blocks belong to that graph; null: to nobody
  void dissolve(Arena& arena);                   ///< its graph is gone: blocks may be used by everybody

  struct TagUse { size_t live = 0, peak = 0; int64_t blocks = 0; };
  struct Use { size_t live = 0, peak = 0, cached = 0; std::vector<TagUse> tags; };
  const Use& use() const { return use_; }
  void resetPeak();

 private:
  TagUse& tag(int index);
  void count(int tagIndex, size_t bytes);
  void uncount(int tagIndex, size_t bytes);
  [[noreturn]] void exhausted(size_t bytes, int tag, const std::function<std::string()>& what);
  const Backend* backend_;
  std::array<std::vector<void*>, 8 * 64> free_;  ///< by size class
  Use use_;
  Arena* arena_ = nullptr;
  size_t limit_ = 0;
};

/// Names of tags, shared by all allocators of the process. Index 0 is "untagged", 1 what graphs keep for their next launch.
inline constexpr int kGraphTag = 1;
std::vector<std::string>& tagNames();

}  // namespace moe
