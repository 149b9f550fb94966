// Who computes a product.
#include <cstdlib>
#include <string>

#include "../../machine/vendor.h"
#include "gemm.h"

namespace moe::cuda::gemm {

bool computeVendor(const Product& p) {
  if (p.groups != Groups::none || p.a.gather || p.b.gather || p.c.bias || p.k == 0) return false;
  const auto operand = [](const Side& s) { return machine::VendorSide{s.data, s.stride, s.batch, s.kFirst}; };
  machine::vendorProduct(operand(p.a), operand(p.b), {p.c.data, p.c.stride, p.c.batch, p.c.dtype == DType::bf16, p.c.add}, p.m, p.n, p.k, p.batches);
  return true;
}

namespace {
void computeHopperOrTensor(const Product& p) {
  if (!computeHopper(p)) computeTensor(p);
}
}  // namespace

void compute(const Product& p) {
  if (p.m == 0 || p.n == 0 || p.batches == 0) return;
  if (p.a.dtype != DType::bf16 || p.b.dtype != DType::bf16) return computePlain(p);
  const char* asked = getenv("TRAIN_MOE_GEMM");  // each time, so that one process can compare them
  const std::string who = asked && *asked ? asked : "own";
  const bool hopper = who == "hopper" || (who == "own" && prefersHopper()), vendor = who == "cublaslt";
  if (!hopper && !vendor && who != "own" && who != "portable")
    throw Error("bad-argument", "TRAIN_MOE_GEMM is " + who + "; own, portable, hopper or cublaslt is expected.");
  if (vendor && computeVendor(p)) return;
  inPieces(p, hopper ? computeHopperOrTensor : computeTensor);
}

}  // namespace moe::cuda::gemm
