// The real machine: CUDA's own language, plus the few names that it lacks. Its twin is host/machine.cuh.
#pragma once
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <string>

#include "../../../native/tensor.h"
#include "../number.h"
#include "../runtime.h"

namespace moe {

namespace machine {

cudaStream_t stream();
/// @throws Error("internal") with CUDA's words unless the call worked.
void check(cudaError_t status, const char* what);

/// Bytes of arguments that a launch may have: more than 4 KB since driver 530, which a CUDA 13 runtime is past.
inline constexpr int kArgumentBytes = CUDART_VERSION >= 13000 ? 32764 : 4096;

inline constexpr size_t kPlainShared = 48 * 1024;  ///< beyond it a kernel must be told that it may

}  // namespace machine

/// Runs kernel<<<grid, block, shared>>>(arguments...) on the stream.
template <class... P, class... A> void launch(void (*kernel)(P...), dim3 grid, int block, size_t shared, A... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (shared > machine::kPlainShared)
    machine::check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)), "shared memory");
  kernel<<<grid, block, shared, machine::stream()>>>(static_cast<P>(arguments)...);
  machine::check(cudaGetLastError(), "launch");
}

template <class T> __device__ __forceinline__ T* sharedMemory() {
  extern __shared__ __align__(1024) unsigned char arena[];
  return reinterpret_cast<T*>(arena);
}

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(bf16 x) { return __uint_as_float(static_cast<uint32_t>(x.bits) << 16); }
__device__ __forceinline__ bf16 narrow(float x) { return {__bfloat16_as_ushort(__float2bfloat16_rn(x))}; }
__device__ __forceinline__ uint32_t pack(float first, float second) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(first, second);
  return *reinterpret_cast<const uint32_t*>(&both);
}

}  // namespace moe
