// Many tensors in one launch. What a kernel must know of each travels with the launch's arguments, so nothing lies in device memory
// that would have to be written first, and a recorded graph keeps it. A block works on kTile elements of one tensor, which it finds
// by its number; the search reads constant memory, the same for all threads. A launch holds some 400 tensors, more take further ones.
#pragma once
#include "cuda.cuh"

namespace moe::cuda {

inline constexpr int kTile = 8192;  ///< elements of a block

/// The tensors of one launch; S says what the kernel must know of one.
template <class S> struct Segments {
  static constexpr int kMost = (machine::kArgumentBytes - 256) / static_cast<int>(sizeof(S) + sizeof(int32_t));
  int32_t count;
  int32_t first[kMost];  ///< block that begins each tensor
  S at[kMost];
};

/// Which tensor a block belongs to: the last one that begins at it or before.
template <class S> __device__ __forceinline__ int segmentOf(const Segments<S>& all, int block) {
  int low = 0, high = all.count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (all.first[middle] <= block) low = middle;
    else high = middle;
  }
  return low;
}

/// Collects tensors and calls send(segments, blocks) when a launch is full and at the end.
template <class S, class Send> class Batches {
 public:
  explicit Batches(Send send) : send_(send) { all_.count = 0; }
  void add(const S& segment, int64_t blocksOfIt = 1) {
    if (blocksOfIt == 0) return;
    if (all_.count == Segments<S>::kMost || blocks_ + blocksOfIt > 0x7fffffff) flush();
    all_.first[all_.count] = static_cast<int32_t>(blocks_);
    all_.at[all_.count++] = segment;
    blocks_ += blocksOfIt;
  }
  void flush() {
    if (all_.count > 0) send_(all_, blocks(blocks_));
    all_.count = 0;
    blocks_ = 0;
  }

 private:
  Send send_;
  Segments<S> all_;
  int64_t blocks_ = 0;
};
template <class S, class Send> Batches<S, Send> batchesOf(Send send) { return Batches<S, Send>(send); }

/// Calls f with a value of each float type: lists are sorted by their types, a launch holds tensors of one.
template <class F> void forFloats(F&& f) {
  f(float{}, DType::f32);
  f(bf16{}, DType::bf16);
}

/// True when packs from all of these begin at 16 bytes.
template <class... P> bool aligned(const P*... pointers) { return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...); }

/// f.run<pack>(at), or f.run<1>(at) for single elements, over a block's tile of a tensor of `size` elements.
template <int pack, class F> __device__ __forceinline__ void overTile(int64_t tile, int64_t size, bool wide, const F& f) {
  const int64_t begin = tile * kTile, end = least(size, begin + kTile);
  if (wide)
    for (int64_t at = begin + threadIdx.x * pack; at + pack <= end; at += blockDim.x * pack) f.template run<pack>(at);
  for (int64_t at = (wide ? end - end % pack : begin) + threadIdx.x; at < end; at += blockDim.x) f.template run<1>(at);
}

}  // namespace moe::cuda
