// What sm_90a adds: mbarriers, tensor copies (TMA), wgmma, setmaxnreg. One function per PTX instruction; what each means in plain
// C++ is in host/hopper.cuh. Compiled for any other GPU they are empty: machine::hasHopper() tells the host before it launches.
#pragma once
#include <cuda.h>  // CUtensorMap; no function of the driver is linked

#include "ptx.cuh"

namespace moe {

using TensorMap = CUtensorMap;

namespace machine {

/// Whether kernels of sm_90a run here: the GPU is one, and the library holds code for it.
bool hasHopper();
/// Whether they are what an op runs unless told otherwise.
inline constexpr bool kPrefersHopper = true;

/// Describes a matrix [rows, cols] of bf16, rows `stride` elements apart, for copies of boxes [boxRows, 64] that arrive in shared
/// memory swizzled by 128 bytes; elements outside the matrix arrive as 0. data and the stride are multiples of 16 bytes.
/// @throws Error("internal") with the driver's number when it refuses.
TensorMap tensorMap(const void* data, int64_t rows, int64_t cols, int64_t stride, int boxRows);

}  // namespace machine

namespace ptx {

/// Whether this is code for a machine that has all this; on others such kernels have no body.
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

/// Starts copying bytes as they lie; addresses and count are multiples of 16. They count towards b.
__device__ __forceinline__ void copyBytes(void* shared, const void* global, int bytes, Mbarrier* b) {
  if constexpr (kHopper)
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
                 ::"r"(sharedAddress(shared)), "l"(global), "r"(bytes), "r"(sharedAddress(b)) : "memory");
}

// -- products of a warpgroup ------------------------------------------------------------------------------------------------

/// The descriptor of a tile in shared memory, rows along k in lines of 128 bytes swizzled as copyBox leaves them: groups of eight
/// rows lie 1024 bytes apart. `p` is the tile's begin, or 32 bytes further for each 16 of k.
__device__ __forceinline__ uint64_t descriptor(const void* p) {
  return uint64_t{sharedAddress(p) >> 4 & 0x3fff} | uint64_t{1} << 16 | uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}
/// The same for a tile whose lines are k: each holds 64 elements along m or n, eight lines lie 1024 bytes apart, and the next 64
/// along m or n `next` bytes further (a multiple of 1024). `p` is the tile's begin, or 2048 bytes further for each 16 of k.
__device__ __forceinline__ uint64_t descriptorFirst(const void* p, int next) {
  return uint64_t{sharedAddress(p) >> 4 & 0x3fff} | uint64_t{static_cast<uint32_t>(next) >> 4 & 0x3fff} << 16 | uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
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

/// wgmmaWait() for accumulators that no group still in flight adds to: they may be used from here on.
template <int groups, int n> __device__ __forceinline__ void wgmmaLanded(float (&d)[n]) {
  if constexpr (kHopper) {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups) : "memory");
#pragma unroll
    for (int i = 0; i < n; i++) asm volatile("" : "+f"(d[i])::"memory");
  }
}

/// What the accumulators hold is of no use: no register keeps it until a wgmma that does not add overwrites it.
template <int n> __device__ __forceinline__ void wgmmaForget(float (&d)[n]) {
#pragma unroll
  for (int i = 0; i < n; i++) d[i] = 0;
}

// The accumulators of one wgmma: a list of places in the instruction, a list of operands.
#define MOE_D8(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define MOE_D32(i) MOE_D8(i), MOE_D8(i + 8), MOE_D8(i + 16), MOE_D8(i + 24)
#define MOE_P0 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define MOE_P1 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define MOE_P2 "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define MOE_P3 "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define MOE_COMMA ,
// n columns; the places of its operands after the accumulators: a (or a0 to a3), b, add, and which operands are k first.
#define MOE_WGMMA(n, places, accumulators, pa, pb, padd, pfa, pfb)                                                                            \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, " padd ", 0;\n"                                                                                \
               "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" places "}, " pa ", " pb ", p, 1, 1, " pfa ", " pfb "; }"          \
               : accumulators                                                                                                                 \
               : "l"(a), "l"(b), "r"(static_cast<int>(add)), "n"(static_cast<int>(aFirst)), "n"(static_cast<int>(bFirst)))
#define MOE_WGMMA_REGISTERS(n, places, accumulators, pa, pb, padd, pfb)                                                                       \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, " padd ", 0;\n"                                                                                \
               "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" places "}, {" pa "}, " pb ", p, 1, 1, " pfb "; }"                 \
               : accumulators                                                                                                                 \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)), "n"(static_cast<int>(bFirst)))

/// d = [d +] a b^T: [64 x 16] times [n x 16] in bf16 by the 128 threads of a warpgroup; n = 64, 128, 192 or 256.
/// fragment::accumulator says who holds what. aFirst, bFirst: that operand's lines are k (descriptorFirst).
template <bool aFirst = false, bool bFirst = false, int count> __device__ __forceinline__ void wgmma(float (&d)[count], uint64_t a, uint64_t b, bool add) {
  static_assert(count == 32 || count == 64 || count == 96 || count == 128);
  if constexpr (kHopper) {
    if constexpr (count == 32) MOE_WGMMA(64, MOE_P0, MOE_D32(0), "%32", "%33", "%34", "%35", "%36");
    else if constexpr (count == 64) MOE_WGMMA(128, MOE_P0 "," MOE_P1, MOE_D32(0) MOE_COMMA MOE_D32(32), "%64", "%65", "%66", "%67", "%68");
    else if constexpr (count == 96) MOE_WGMMA(192, MOE_P0 "," MOE_P1 "," MOE_P2, MOE_D32(0) MOE_COMMA MOE_D32(32) MOE_COMMA MOE_D32(64), "%96", "%97", "%98", "%99", "%100");
    else MOE_WGMMA(256, MOE_P0 "," MOE_P1 "," MOE_P2 "," MOE_P3, MOE_D32(0) MOE_COMMA MOE_D32(32) MOE_COMMA MOE_D32(64) MOE_COMMA MOE_D32(96), "%128", "%129", "%130", "%131", "%132");
  }
}
/// The same with a in registers: the four of each lane are its A fragment of mma.m16n8k16 for the 16 rows of its warp
/// (fragment::a). They must not change before the product has been waited for.
template <bool bFirst = false, int count> __device__ __forceinline__ void wgmma(float (&d)[count], const uint32_t (&a)[4], uint64_t b, bool add) {
  static_assert(count == 32 || count == 64 || count == 96 || count == 128);
  if constexpr (kHopper) {
    if constexpr (count == 32) MOE_WGMMA_REGISTERS(64, MOE_P0, MOE_D32(0), "%32,%33,%34,%35", "%36", "%37", "%38");
    else if constexpr (count == 64) MOE_WGMMA_REGISTERS(128, MOE_P0 "," MOE_P1, MOE_D32(0) MOE_COMMA MOE_D32(32), "%64,%65,%66,%67", "%68", "%69", "%70");
    else if constexpr (count == 96) MOE_WGMMA_REGISTERS(192, MOE_P0 "," MOE_P1 "," MOE_P2, MOE_D32(0) MOE_COMMA MOE_D32(32) MOE_COMMA MOE_D32(64), "%96,%97,%98,%99", "%100", "%101", "%102");
    else MOE_WGMMA_REGISTERS(256, MOE_P0 "," MOE_P1 "," MOE_P2 "," MOE_P3, MOE_D32(0) MOE_COMMA MOE_D32(32) MOE_COMMA MOE_D32(64) MOE_COMMA MOE_D32(96), "%128,%129,%130,%131", "%132", "%133", "%134");
  }
}
#undef MOE_D8
#undef MOE_D32
#undef MOE_COMMA
#undef MOE_P0
#undef MOE_P1
#undef MOE_P2
#undef MOE_P3
#undef MOE_WGMMA
#undef MOE_WGMMA_REGISTERS

/// Warpgroups of a specialised kernel hand registers on; n a multiple of 8.
template <int n> __device__ __forceinline__ void takeRegisters() {
  if constexpr (kHopper) asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(n));
}
template <int n> __device__ __forceinline__ void giveRegisters() {
  if constexpr (kHopper) asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(n));
}

}  // namespace ptx

}  // namespace moe
