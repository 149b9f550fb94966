// The cache has no lock: a buffer's handles live in one JavaScript environment, which runs its ops one after another, so two
// threads cannot ask for the same buffer. Should buffers ever be shared between environments, take() needs one.
#include "packed_weight.h"

#include <algorithm>

#include "../../../native/memory.h"
#include "amx.h"
#include "pairs.h"

namespace moe::MOE_ISA::gemm {

namespace {

/// The shape of the panels of one form.
struct Shape {
  int64_t cols, panels, panelSize;  ///< columns of a panel, panels of a matrix, elements of a panel

  Shape(const Weight& w, Form form) {
    cols = form == Form::pairs ? kPairCols : kTileCols;
    constexpr int64_t kAtOnce = kTileCols > kPairCols ? kTileCols : kPairCols;  // a tile reads this many columns, zeros too
    panels = divideUp(w.n, kAtOnce) * (kAtOnce / cols);
    panelSize = form == Form::pairs ? pairPanelSize(w.k) : kTileCols * w.k;
  }
  size_t bytes(const Weight& w) const { return static_cast<size_t>(w.count * panels * panelSize * moe::bytes(w.view->dtype)); }
};

/// Names the layout: which part of the buffer, its shape, and the form of a panel. FNV-1a over the numbers.
uint64_t layoutOf(const Weight& w, Form form) {
  const int64_t offset = static_cast<const char*>(w.view->data) - static_cast<const char*>(w.view->buffer->data);
  const int64_t parts[] = {offset, w.count, w.n, w.k, w.next, w.stride, w.alongN, static_cast<int64_t>(form), static_cast<int64_t>(w.view->dtype)};
  uint64_t hash = 0xcbf29ce484222325u;
  for (const int64_t part : parts) hash = (hash ^ static_cast<uint64_t>(part)) * 0x100000001b3u;
  return hash;
}

void* take(const View& near, size_t bytes, size_t& capacity) {
  void* data = near.buffer->owner->take(bytes, capacity);
  if (!data) throw Error("out-of-memory", "the CPU has no room for the working memory of a matrix product.");
  return data;
}

void packPanel(float* to, const float* from, int64_t stride, int64_t cols, int64_t depth, Form) { packTransposed(to, from, stride, cols, depth); }
void packPanel(bf16* to, const bf16* from, int64_t stride, int64_t cols, int64_t depth, Form form) {
  form == Form::pairs ? packPairPanel(to, from, stride, cols, depth) : packTransposed(to, from, stride, cols, depth);
}

/// `panels` panels of pairs from rows along n, of which `cols` columns exist; the rest is zero.
void packAlongN(bf16* to, const bf16* from, int64_t stride, int64_t panels, int64_t cols, int64_t depth) {
  const int64_t size = pairPanelSize(depth), pairs = divideUp(depth, 2), used = divideUp(cols, kPairCols);
  packPairsAcross(reinterpret_cast<pair*>(to), kPairCols, size / 2, cols, 0, pairs, depth, [&](int64_t k) { return from + k * stride; });
  for (int64_t p = 0; p < panels; p++) {
    const int64_t written = p < used ? 2 * pairs * kPairCols : 0;
    memset(to + p * size + written, 0, static_cast<size_t>(size - written) * sizeof(bf16));
  }
}

/// `count` panels of one matrix, from the panel `first` on.
template <class T> void packPanels(const Weight& w, Form form, const Shape& shape, const T* from, int64_t first, int64_t count, T* to) {
  const int64_t cols = w.n - first * shape.cols;
  if constexpr (sizeof(T) == sizeof(bf16))
    if (w.alongN) return packAlongN(to, from + first * shape.cols, w.stride, count, std::clamp<int64_t>(cols, 0, count * shape.cols), w.k);
  for (int64_t p = 0; p < count; p++)
    packPanel(to + p * shape.panelSize, from + (first + p) * shape.cols * w.stride, w.stride, std::clamp<int64_t>(cols - p * shape.cols, 0, shape.cols), w.k, form);
}

void pack(const Weight& w, Form form, void* to) {
  constexpr int64_t kPanelsPerTask = 4;
  const Shape shape(w, form);
  const int64_t perMatrix = divideUp(shape.panels, kPanelsPerTask);
  dispatch(w.view->dtype, [&](auto t) {
    using T = decltype(t);
    parallel::loop(w.count * perMatrix, [&](int64_t task, int) {
      const int64_t matrix = task / perMatrix, first = task % perMatrix * kPanelsPerTask;
      const T* from = static_cast<const T*>(w.view->data) + matrix * w.next;
      const int64_t count = std::min(kPanelsPerTask, shape.panels - first);
      packPanels(w, form, shape, from, first, count, static_cast<T*>(to) + (matrix * shape.panels + first) * shape.panelSize);
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
  return buffer.packed[layout % 4];
}

void* cached(const Weight& w, Form form) {
  Buffer& buffer = *w.view->buffer;
  const uint64_t layout = layoutOf(w, form);
  Packed& slot = slotFor(buffer, layout);
  if (slot.data && slot.layout == layout && slot.version == buffer.version) return slot.data;
  if (slot.data && slot.layout != layout) {
    buffer.owner->give(slot.data, slot.bytes);
    slot.data = nullptr;
  }
  if (!slot.data) slot.data = take(*w.view, Shape(w, form).bytes(w), slot.bytes);
  slot.layout = layout;
  pack(w, form, slot.data);
  slot.version = buffer.version;
  return slot.data;
}

}  // namespace

PackedWeight::PackedWeight(const Weight& weight, DType left, int64_t rows)
    : weight_(weight), form_(usesPairs(left, weight.view->dtype) ? Form::pairs : Form::panels) {
  if (weight.view->buffer->weight && (!weight.alongN || form_ == Form::pairs)) {
    data_ = cached(weight, form_);
  } else if (!weight.alongN && (rows > kBlockRows || amx::serves(left, weight.view->dtype))) {
    data_ = take(*weight.view, Shape(weight, form_).bytes(weight), temporary_);
    pack(weight, form_, data_);
  }
}

PackedWeight::~PackedWeight() {
  if (temporary_) weight_.view->buffer->owner->give(data_, temporary_);
}

Right PackedWeight::operator[](int64_t i) const {
  if (!data_) {
    const auto* data = static_cast<const char*>(weight_.view->data);
    return {data + i * weight_.next * bytes(weight_.view->dtype), weight_.view->dtype, weight_.stride, weight_.alongN ? Form::rows : Form::columns};
  }
  const Shape shape(weight_, form_);
  const int64_t offset = i * shape.panels * shape.panelSize * bytes(weight_.view->dtype);
  return {static_cast<const char*>(data_) + offset, weight_.view->dtype, 0, form_};
}

void compute(const WayBack& back) {
  const View& weight = *back.weight;
  const int64_t outer = weight.shape[0], inner = weight.shape[1];
  Product products[2];
  size_t count = 0;
  if (back.dweight) {
    Left across = back.dy;
    across.kFirst = true;
    products[count++] = {.a = across, .b = back.x, .c = *back.dweight, .m = outer, .n = inner, .k = back.rows};
  }
  std::optional<PackedWeight> packed;
  if (back.dx) {
    packed.emplace(Weight{&weight, 1, inner, outer, 0, weight.stride[0], true}, back.dy.dtype);
    products[count++] = {.a = back.dy, .b = (*packed)[0], .c = *back.dx, .m = back.rows, .n = inner, .k = outer};
  }
  compute({products, count});
}

Workspace::Workspace(const View& near, size_t bytes) : near_(near.buffer), data_(take(near, bytes, capacity_)) {}
Workspace::~Workspace() { near_->owner->give(data_, capacity_); }

}  // namespace moe::MOE_ISA::gemm
