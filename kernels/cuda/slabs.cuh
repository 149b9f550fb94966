// Sums over rows in an order that depends on the shape only: slabs of rows first, then the slabs in order.
#pragma once
#include "cuda.cuh"

namespace moe::cuda {

/// to[col] = beta*to[col] + sum over slabs of parts[slab*stride + col].
void addSlabs(float* to, float beta, const float* parts, int64_t slabs, int64_t cols, int64_t stride);

/// to[col] = beta*to[col] + sum over rows of x[row][col]. Uses scratch slot 0.
void columnSums(const Acc& to, const View& x);

}  // namespace moe::cuda
