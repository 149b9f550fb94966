#include "memory.h"

#include <algorithm>
#include <bit>

namespace moe {

namespace {

/// The size class of a request: the next multiple of an eighth of its power of two, at least 64 bytes.
size_t sizeClass(size_t bytes) {
  if (bytes <= 64) return 64;
  const size_t step = std::max<size_t>(64, std::bit_floor(bytes) / 8);
  return (bytes + step - 1) / step * step;
}

/// Which of the classes a size that sizeClass() gave is: eight to a power of two.
size_t classOf(size_t capacity) {
  const int power = std::bit_width(capacity) - 1;
  return 8 * power + (capacity >> (power - 3)) % 8;
}

size_t capacityOf(size_t index) { return (8 + index % 8) << (index / 8) >> 3; }

std::string megabytes(size_t bytes) {
  const double mb = static_cast<double>(bytes) / 1e6;
  char text[32];
  snprintf(text, sizeof text, mb < 10 ? "%.2f MB" : "%.0f MB", mb);
  return text;
}

}  // namespace

std::vector<std::string>& tagNames() {
  static std::vector<std::string> names{"untagged", "graphs"};
  return names;
}

Allocator::TagUse& Allocator::tag(int index) {
  if (static_cast<size_t>(index) >= use_.tags.size()) use_.tags.resize(index + 1);
  return use_.tags[index];
}

void* Allocator::take(size_t bytes, size_t& capacity) {
  if (backend_->fresh) {
    capacity = bytes;
    return limit_ && use_.live + bytes > limit_ ? nullptr : backend_->allocate(bytes);
  }
  capacity = sizeClass(bytes);
  auto& list = free_[classOf(capacity)];
  if (!list.empty()) {
    void* data = list.back();
    list.pop_back();
    use_.cached -= capacity;
    return data;
  }
  if (limit_ && use_.live + capacity > limit_) return nullptr;
  void* data = backend_->allocate(capacity);
  if (!data) {
    trim();
    data = backend_->allocate(capacity);
  }
  return data;
}

void Allocator::give(void* data, size_t capacity) {
  if (backend_->fresh) return backend_->release(data, capacity);
  free_[classOf(capacity)].push_back(data);
  use_.cached += capacity;
}

void Allocator::count(int tagIndex, size_t bytes) {
  use_.live += bytes;
  use_.peak = std::max(use_.peak, use_.live);
  TagUse& use = tag(tagIndex);
  use.live += bytes;
  use.peak = std::max(use.peak, use.live);
  use.blocks++;
}

void Allocator::uncount(int tagIndex, size_t bytes) {
  use_.live -= bytes;
  TagUse& use = tag(tagIndex);
  use.live -= bytes;
  use.blocks--;
}

Buffer* Allocator::create(size_t bytes, int tagIndex, const std::function<std::string()>& what) {
  size_t capacity = backend_->fresh ? bytes : sizeClass(bytes);
  void* data = nullptr;
  if (arena_ && !arena_->free[capacity].empty()) {
    data = arena_->free[capacity].back();
    arena_->free[capacity].pop_back();
    uncount(kGraphTag, capacity);
  } else {
    data = take(bytes, capacity);
    if (!data) exhausted(bytes, tagIndex, what);
    if (arena_) arena_->bytes += capacity;
  }
  auto* buffer = new Buffer;
  buffer->owner = this;
  buffer->data = data;
  buffer->bytes = bytes;
  buffer->capacity = capacity;
  buffer->views = 1;
  buffer->tag = tagIndex;
  buffer->arena = arena_;
  if (arena_) arena_->live.insert(buffer);
  count(tagIndex, capacity);
  return buffer;
}

void Allocator::drop(Buffer* buffer) {
  if (--buffer->views > 0) return;
  for (Packed& packed : buffer->packed) {
    if (packed.data) give(packed.data, packed.bytes);
    packed = {};
  }
  uncount(buffer->tag, buffer->capacity);
  if (Arena* arena = buffer->arena) {
    arena->free[buffer->capacity].push_back(buffer->data);
    arena->live.erase(buffer);
    arena->dropped.push_back(buffer);
    count(kGraphTag, buffer->capacity);
    return;
  }
  give(buffer->data, buffer->capacity);
  delete buffer;
}

void Allocator::dissolve(Arena& arena) {
  for (auto& [capacity, list] : arena.free)
    for (void* data : list) {
      uncount(kGraphTag, capacity);
      give(data, capacity);
    }
  for (Buffer* buffer : arena.live) buffer->arena = nullptr;
  for (Buffer* buffer : arena.dropped) delete buffer;
  arena = {};
}

void Allocator::trim() {
  for (size_t i = 0; i < free_.size(); i++) {
    for (void* data : free_[i]) backend_->release(data, capacityOf(i));
    free_[i].clear();
  }
  use_.cached = 0;
}

void Allocator::resetPeak() {
  use_.peak = use_.live;
  for (TagUse& use : use_.tags) use.peak = use.live;
}

size_t Allocator::ceiling() const {
  if (limit_) return limit_;
  return backend_->capacity ? backend_->capacity() : 0;
}

std::string Allocator::held() const {
  std::vector<std::pair<size_t, int>> holders;
  for (size_t i = 0; i < use_.tags.size(); i++)
    if (use_.tags[i].live) holders.emplace_back(use_.tags[i].live, static_cast<int>(i));
  std::sort(holders.rbegin(), holders.rend());
  std::string held;
  for (size_t i = 0; i < holders.size() && i < 5; i++)
    held += (i ? ", " : "") + tagNames()[holders[i].second] + " " + megabytes(holders[i].first);
  return held.empty() ? "nothing" : held;
}

void Allocator::exhausted(size_t bytes, int tagIndex, const std::function<std::string()>& what) {
  throw Error("out-of-memory", std::string(backend_->name) + " has no room for " + (what ? what() + " (" + megabytes(bytes) + ")" : megabytes(bytes)) +
                                   (tagIndex ? " of " + tagNames()[tagIndex] : "") + "; held now: " + held() + ".");
}

}  // namespace moe
