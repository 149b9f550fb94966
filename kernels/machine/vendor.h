// Dense products of bf16 by the vendor's library, where the machine has it: gpu/vendor.cu opens cuBLASLt, host/vendor.cc has none.
#pragma once
#include <cstdint>

namespace moe::machine {

/// An operand as gemm.h's Side: memory rows along k, or k along memory rows (kFirst).
struct VendorSide {
  const void* data;
  int64_t stride, batch;  ///< elements between memory rows and between matrices
  bool kFirst;
};
struct VendorTarget {
  void* data;
  int64_t stride, batch;
  bool narrow, add;  ///< bf16 instead of f32; added to what is there
};

/// c[m][n] = [c +] sum over k of a(m, k) b(k, n) for each matrix of the batch.
/// @throws Error("no-device") without the library, Error("internal") with its number when it refuses.
void vendorProduct(const VendorSide& a, const VendorSide& b, const VendorTarget& c, int64_t m, int64_t n, int64_t k, int64_t batches);

}  // namespace moe::machine
