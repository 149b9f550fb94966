// What the parts of decode.cu share: the arguments, where keys lie, and how results over neighbouring keys become one.
#pragma once
#include <ptx.cuh>

#include "cuda.cuh"

namespace moe::cuda::decoding {

constexpr int kSpan = 512;      ///< keys whose softmax is taken at once
constexpr int kTree = 8;        ///< spans that are joined in pairs, then pairs of pairs; beyond these in order

template <class T> struct Decode {
  const T *q, *k, *v, *shared;  ///< shared: null when k holds all channels of a key
  T* o;
  int64_t qRow, qHead, oRow, oHead;
  int64_t kPage, kKey, kGroup, vPage, vKey, vGroup, sharedPage, sharedKey;  ///< elements between pages, keys of a page, key heads
  const int32_t *pages, *sequence, *lengths;
  int64_t rows, pagesPerSequence;
  int heads, groups, depth, own, values, pageKeys, spans;  ///< own: channels of a key that k holds
  int together;  ///< neighbouring rows that may share a block
  int each;      ///< spans that a block takes and joins: a power of two up to kTree
  float scale;
  float *parts, *stats;  ///< [R,H,spans,V] unnormalised results and [R,H,spans,2] their Softmax

  __device__ const int32_t* tableOf(int64_t row) const { return pages + sequence[row] * pagesPerSequence; }
  __device__ int64_t partAt(int64_t row, int head, int span) const { return (row * heads + head) * spans + span; }
};

/// The softmax of a result so far: the highest score, in powers of two, and the sum of 2^(score - top).
struct Softmax {
  float top, sum;
};
/// What two results count for in that of both.
struct Weights {
  float left, right;
};

/// `left` becomes the softmax of both. Every join of two results, in any kernel, is this and the one below, so that a row has the
/// same bits however its spans were dealt to blocks.
__device__ __forceinline__ Weights join(Softmax& left, const Softmax& right) {
  const float top = fmaxf(left.top, right.top);
  const Weights w{ptx::exp2(left.top - top), ptx::exp2(right.top - top)};
  left = {top, fmaf(left.sum, w.left, right.sum * w.right)};
  return w;
}
__device__ __forceinline__ float join(float left, float right, const Weights& w) { return fmaf(left, w.left, right * w.right); }

}  // namespace moe::cuda::decoding
