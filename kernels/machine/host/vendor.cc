#include "../vendor.h"

#include "../../../native/tensor.h"

namespace moe::machine {

void vendorProduct(const VendorSide&, const VendorSide&, const VendorTarget&, int64_t, int64_t, int64_t, int64_t) {
  throw Error("no-device", "TRAIN_MOE_GEMM is cublaslt, but the emulator has no such library; use own or hopper.");
}

}  // namespace moe::machine
