// Who computes a product.
#include <cstdlib>
#include <cstring>

#include "../../machine/vendor.h"
#include "gemm.h"

namespace moe::cuda::gemm {

bool computeVendor(const Product& p) {
  if (p.groups != Groups::none || p.a.gather || p.b.gather || p.c.bias || p.k == 0) return false;
  const auto operand = [](const Side& s) { return machine::VendorSide{s.data, s.stride, s.batch, s.kFirst}; };
  machine::vendorProduct(operand(p.a), operand(p.b), {p.c.data, p.c.stride, p.c.batch, p.c.dtype == DType::bf16, p.c.add}, p.m, p.n, p.k, p.batches);
  return true;
}

void compute(const Product& p) {
  if (p.m == 0 || p.n == 0 || p.batches == 0) return;
  if (p.a.dtype != DType::bf16 || p.b.dtype != DType::bf16) return computePlain(p);
  const char* who = getenv("TRAIN_MOE_GEMM");  // asked each time, so that one process can compare them
  const auto is = [&](const char* word) { return !strcmp(who, word); };
  if (!who || !*who || is("own")) {
    if (!prefersHopper() || !computeHopper(p)) computeTensor(p);
    return;
  }
  if (is("portable")) return computeTensor(p);
  const bool hopper = is("hopper");
  if (!hopper && !is("cublaslt")) throw Error("bad-argument", std::string("TRAIN_MOE_GEMM is ") + who + "; own, portable, hopper or cublaslt is expected.");
  if (!(hopper ? computeHopper(p) : computeVendor(p))) computeTensor(p);
}

}  // namespace moe::cuda::gemm
