// A weight gradient of few tiles, in pieces of its depth.
//
//   c = start + (piece 0 + piece 1 + ...)       added in that order
//
// How it runs: the products of all pieces are one launch, a batch whose matrices are the f32 parts of c; a second kernel adds them.
// What bounds the second: reading the parts, which mostly lie in the second-level cache still.
#include "gemm.h"
#include "schedule.h"

namespace moe::cuda::gemm {

namespace {

struct Join {
  float* c;
  float beta;
  const float* parts;
  int64_t count, all;  ///< parts, elements of c
  template <int n> __device__ void run(int64_t, int64_t at) const {
    Floats<n> sum = load<n>(parts + at);
    for (int64_t i = 1; i < count; i++) {
      const Floats<n> x = load<n>(parts + i * all + at);
#pragma unroll
      for (int e = 0; e < n; e++) sum.at[e] += x.at[e];
    }
    accumulate<n>(c + at, sum, beta);
  }
};

}  // namespace

void inPieces(const Product& p, void (*multiply)(const Product&)) {
  const bool alone = p.groups == Groups::none && p.batches == 1 && !p.a.gather && !p.b.gather;
  const bool weights = alone && p.a.kFirst && p.b.kFirst && p.c.dtype == DType::f32 && p.c.stride == p.n && !p.c.bias;
  const Pieces pieces = weights ? piecesOf(p.m, p.n, p.k) : Pieces{1, p.k};
  if (pieces.count == 1) return multiply(p);
  const int64_t all = p.m * p.n;
  float* parts = machine::scratch<float>(5, pieces.count * all);
  Product part = p;
  part.c = {parts, DType::f32, p.n};
  part.c.batch = all;
  part.groups = Groups::pieces;
  part.batches = pieces.count;
  part.piece = pieces.each;
  multiply(part);
  const bool wide = all % kVec == 0 && reinterpret_cast<uintptr_t>(p.c.data) % 16 == 0;
  forEach(Plane{1, all, wide}, Join{static_cast<float*>(p.c.data), p.c.add ? 1.f : 0.f, parts, pieces.count, all});
}

}  // namespace moe::cuda::gemm
