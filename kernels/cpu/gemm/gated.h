// The first product of a SwiGLU layer, [gate | up] = a b, and y = silu(gate) * up, which is taken from the blocks while they
// are in the caches: gate and up are written for the way back, and not read again on the way forward.
#pragma once
#include "gemm.h"

namespace moe::MOE_ISA::gemm {

struct Gated {
  Product product;  ///< c: [m, 2*cols], gate and then up, of y's dtype
  void* y;          ///< [m, cols], its rows side by side
  int64_t cols() const { return product.n / 2; }
};

/// How y is cut into blocks, as cut() cuts a product; a column of y stands for two of c. A block's gate and its up both begin where a
/// panel of b does.
Cut cutGated(int64_t m, int64_t cols, int64_t k, int64_t products = 1);

/// Computes one block of y and those of c that it comes from. Uses what compute() of a product uses.
void compute(const Gated& gated, const Block& block, int worker);

/// Computes the whole on all threads.
void compute(const Gated& gated);

}  // namespace moe::MOE_ISA::gemm
