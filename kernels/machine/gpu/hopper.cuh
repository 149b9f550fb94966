// What sm_90a adds: mbarriers, tensor copies (TMA), wgmma, setmaxnreg. One function per PTX instruction; what each means in plain
// C++ is in host/hopper.cuh. Compiled for any other GPU they are empty: machine::hasHopper() tells the host before it launches.
#pragma once
#include <cuda.h>  // CUtensorMap; no function of the driver is linked

#include "ptx.cuh"

namespace moe {

using TensorMap = CUtensorMap;

namespace machine {

/// Whether kernels of sm_90a run here.
bool hasHopper();

/// Describes a matrix [rows, cols] of bf16, rows `stride` elements apart, for copies of boxes [boxRows, 64] that arrive in shared
/// memory swizzled by 128 bytes; elements outside the matrix arrive as 0. data and the stride are multiples of 16 bytes.
/// @throws Error("internal") with the driver's number when it refuses.
TensorMap tensorMap(const void* data, int64_t rows, int64_t cols, int64_t stride, int boxRows);

}  // namespace machine

namespace ptx {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
inline constexpr bool kHopper = true;
#else
inline constexpr bool kHopper = false;
#endif

// -- mbarriers --------------------------------------------------------------------------------------------------------------

using Mbarrier = uint64_t;

__device__ __forceinline__ void initBarrier(Mbarrier* b, int arrivals) {
  if constexpr (kHopper) asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(sharedAddress(b)), "r"(arrivals) : "memory");
}
/// Makes initialised barriers known to the copy engine.
__device__ __forceinline__ void fenceBarrierInit() {
  if constexpr (kHopper) asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
/// Makes what this thread wrote to shared memory, or copied there by cp.async and waited for, visible to wgmma.
__device__ __forceinline__ void fenceAsyncProxy() {
  if constexpr (kHopper) asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ __forceinline__ void arrive(Mbarrier* b) {
  if constexpr (kHopper) asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(sharedAddress(b)) : "memory");
}
/// Arrives and lets the phase last until `bytes` more have been copied.
__device__ __forceinline__ void arriveExpect(Mbarrier* b, int bytes) {
  if constexpr (kHopper) asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(sharedAddress(b)), "r"(bytes) : "memory");
}
__device__ __forceinline__ bool tryWait(Mbarrier* b, uint32_t parity) {
  uint32_t done = 1;
  if constexpr (kHopper)
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.b32 %0, 1, 0, p; }"
                 : "=r"(done) : "r"(sharedAddress(b)), "r"(parity) : "memory");
  return done != 0;
}
/// Waits until the phase of that parity has ended; the first phase has parity 0, and "the one before it" parity 1.
__device__ __forceinline__ void waitBarrier(Mbarrier* b, uint32_t parity) {
  while (!tryWait(b, parity)) {}
}

// -- tensor copies ------------------------------------------------------------------------------------------------------------

/// Starts copying the box at (row, col) of the map to `shared`, a multiple of 1024; its bytes count towards b.
__device__ __forceinline__ void copyBox(void* shared, const TensorMap& map, int row, int col, Mbarrier* b) {
  if constexpr (kHopper)
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
                 ::"r"(sharedAddress(shared)), "l"(&map), "r"(col), "r"(row), "r"(sharedAddress(b)) : "memory");
}

// -- products of a warpgroup ------------------------------------------------------------------------------------------------

/// The descriptor of a tile in shared memory, rows along k in lines of 128 bytes swizzled as copyBox leaves them: groups of eight
/// rows lie 1024 bytes apart. `p` is the tile's begin, or 32 bytes further for each 16 of k.
__device__ __forceinline__ uint64_t descriptor(const void* p) {
  return uint64_t{sharedAddress(p) >> 4 & 0x3fff} | uint64_t{1} << 16 | uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}

/// Before the first wgmma, and after registers that it uses were touched.
__device__ __forceinline__ void wgmmaFence() {
  if constexpr (kHopper) asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmmaCommit() {
  if constexpr (kHopper) asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most `groups` committed groups are in flight. After the last one the accumulators pass through, so that no use
/// of them moves up; before, a touch would make the assembler wait for each product.
template <int groups, int n> __device__ __forceinline__ void wgmmaWait(float (&d)[n]) {
  if constexpr (kHopper) {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups) : "memory");
    if constexpr (groups == 0) {
#pragma unroll
      for (int i = 0; i < n; i++) asm volatile("" : "+f"(d[i])::"memory");
    }
  }
}

/// d = [d +] a b^T: [64 x 16] times [n x 16] in bf16 by the 128 threads of a warpgroup; fragment::accumulator says who holds
/// what. Here n = 128.
__device__ __forceinline__ void wgmma(float (&d)[64], uint64_t a, uint64_t b, bool add) {
  if constexpr (kHopper)
    asm volatile(
        "{ .reg .pred p; setp.ne.b32 p, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
        "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
        "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, "
        "%64, %65, p, 1, 1, 0, 0; }"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]),
          "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]),
          "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]),
          "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
          "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]),
          "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]),
          "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
        : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}

/// Warpgroups of a specialised kernel hand registers on; n a multiple of 8.
template <int n> __device__ __forceinline__ void takeRegisters() {
  if constexpr (kHopper) asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(n));
}
template <int n> __device__ __forceinline__ void giveRegisters() {
  if constexpr (kHopper) asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(n));
}

}  // namespace ptx

}  // namespace moe
