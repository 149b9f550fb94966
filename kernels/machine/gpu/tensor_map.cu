// Tensor maps are made by the driver, whose function is looked up when it is first needed: an older driver only lacks Hopper
// kernels, it does not keep the library from loading.
#include "hopper.cuh"

namespace moe::machine {

#ifdef MOE_SM90A
constexpr bool kCompiledFor90a = true;
#else
constexpr bool kCompiledFor90a = false;
#endif

bool hasHopper() {
  if (!kCompiledFor90a) return false;
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess && cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess && major == 9;
}

TensorMap tensorMap(const void* data, int64_t rows, int64_t cols, int64_t stride, int boxRows) {
  using Encode = decltype(&cuTensorMapEncodeTiled);
  static const Encode encode = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result;
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result), "cuTensorMapEncodeTiled");
    return reinterpret_cast<Encode>(found);
  }();
  if (!encode) throw Error("internal", "the NVIDIA driver has no cuTensorMapEncodeTiled; install a newer one.");
  TensorMap map;
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(cols), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(stride) * sizeof(bf16)};
  const cuuint32_t box[2] = {64, static_cast<cuuint32_t>(boxRows)}, steps[2] = {1, 1};
  const CUresult status = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(data), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                 CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) throw Error("internal", "the driver refuses a tensor map (CUDA error " + std::to_string(static_cast<int>(status)) + ").");
  return map;
}

}  // namespace moe::machine
