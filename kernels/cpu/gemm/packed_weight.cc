// The cache has no lock: a buffer's handles live in one JavaScript environment, which runs its ops one after another, so two
// threads cannot ask for the same buffer. Should buffers ever be shared between environments, take() needs one.
#include "packed_weight.h"

#include "../../../native/memory.h"
#include "pack.h"

namespace moe::MOE_ISA::gemm {

namespace {

int64_t panels(const Weight& w) { return divideUp(w.n, kTileCols); }

size_t packedBytes(const Weight& w) { return static_cast<size_t>(w.count * panels(w) * kTileCols * w.k * bytes(w.view->dtype)); }

/// Names the layout: which part of the buffer, its shape, and the width of a panel. FNV-1a over the numbers; never 0.
uint64_t layoutOf(const Weight& w) {
  const int64_t offset = static_cast<const char*>(w.view->data) - static_cast<const char*>(w.view->buffer->data);
  const int64_t parts[] = {offset, w.count, w.n, w.k, w.next, w.stride, kTileCols, static_cast<int64_t>(w.view->dtype)};
  uint64_t hash = 0xcbf29ce484222325u;
  for (const int64_t part : parts) hash = (hash ^ static_cast<uint64_t>(part)) * 0x100000001b3u;
  return hash | 1;
}

void* take(const View& near, size_t bytes, size_t& capacity) {
  void* data = near.buffer->owner->take(bytes, capacity);
  if (!data) throw Error("out-of-memory", "the CPU has no room for the working memory of a matrix product.");
  return data;
}

void pack(const Weight& w, void* to) {
  constexpr int64_t kPanelsPerTask = 4;
  const int64_t perMatrix = divideUp(panels(w), kPanelsPerTask);
  dispatch(w.view->dtype, [&](auto t) {
    using T = decltype(t);
    parallel::loop(w.count * perMatrix, [&](int64_t task, int) {
      const int64_t matrix = task / perMatrix, first = task % perMatrix * kPanelsPerTask;
      const T* from = static_cast<const T*>(w.view->data) + matrix * w.next;
      for (int64_t p = first; p < first + kPanelsPerTask && p < panels(w); p++) {
        const int64_t left = w.n - p * kTileCols;
        packTransposed(static_cast<T*>(to) + (matrix * panels(w) + p) * w.k * kTileCols, from + p * kTileCols * w.stride, w.stride,
                       left < kTileCols ? left : kTileCols, w.k);
      }
    });
  });
}

/// The slot that holds this layout, else one to overwrite: empty, then stale, then by the layout's number.
Packed& slotFor(Buffer& buffer, uint64_t layout) {
  for (Packed& slot : buffer.packed)
    if (slot.data && slot.layout == layout) return slot;
  for (Packed& slot : buffer.packed)
    if (!slot.data) return slot;
  for (Packed& slot : buffer.packed)
    if (slot.version != buffer.version) return slot;
  return buffer.packed[layout / 2 % 4];
}

void* cached(const Weight& w) {
  Buffer& buffer = *w.view->buffer;
  const uint64_t layout = layoutOf(w);
  Packed& slot = slotFor(buffer, layout);
  if (slot.data && slot.layout == layout && slot.version == buffer.version) return slot.data;
  if (slot.data && slot.layout != layout) {
    buffer.owner->give(slot.data, slot.bytes);
    slot.data = nullptr;
  }
  if (!slot.data) slot.data = take(*w.view, packedBytes(w), slot.bytes);
  slot.layout = layout;
  pack(w, slot.data);
  slot.version = buffer.version;
  return slot.data;
}

}  // namespace

PackedWeight::PackedWeight(const Weight& weight) : weight_(weight) {
  if (weight.view->buffer->weight) {
    data_ = cached(weight);
  } else {
    data_ = take(*weight.view, packedBytes(weight), temporary_);
    pack(weight, data_);
  }
}

PackedWeight::~PackedWeight() {
  if (temporary_) weight_.view->buffer->owner->give(data_, temporary_);
}

Right PackedWeight::operator[](int64_t i) const {
  const int64_t offset = i * panels(weight_) * kTileCols * weight_.k * bytes(weight_.view->dtype);
  return {static_cast<const char*>(data_) + offset, weight_.view->dtype, 0, true};
}

Workspace::Workspace(const View& near, size_t bytes) : near_(near.buffer), data_(take(near, bytes, capacity_)) {}
Workspace::~Workspace() { near_->owner->give(data_, capacity_); }

}  // namespace moe::MOE_ISA::gemm
