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

enum class Kernel { portable, hopper, vendor };

/// Of those that multiply bf16; read each time, so that one process can compare them.
Kernel chosen() {
  const char* asked = getenv("TRAIN_MOE_GEMM");
  const std::string who = asked && *asked ? asked : "own";
  if (who == "own") return prefersHopper() ? Kernel::hopper : Kernel::portable;
  if (who == "portable") return Kernel::portable;
  if (who == "hopper") return Kernel::hopper;
  if (who == "cublaslt") return Kernel::vendor;
  throw Error("bad-argument", "TRAIN_MOE_GEMM is " + who + "; own, portable, hopper or cublaslt is expected.");
}

bool narrow(const Product& p) { return p.a.dtype == DType::bf16 && p.b.dtype == DType::bf16; }
bool empty(const Product& p) { return p.m == 0 || p.n == 0 || p.batches == 0; }

void computeHopperOrTensor(const Product& p) {
  if (!computeHopper(p)) computeTensor(p);
}

}  // namespace

void compute(const Product& p) {
  if (empty(p)) return;
  if (!narrow(p)) return computePlain(p);
  const Kernel kernel = chosen();
  if (kernel == Kernel::vendor && computeVendor(p)) return;
  inPieces(p, kernel == Kernel::hopper ? computeHopperOrTensor : computeTensor);
}

bool computeGated(const Product& p, void* y) {
  if (empty(p)) return true;
  if (!narrow(p) || p.c.dtype != DType::bf16 || chosen() != Kernel::portable) return false;
  computeTensorGated(p, static_cast<bf16*>(y));
  return true;
}

}  // namespace moe::cuda::gemm
