// What mbarriers, tensor copies and wgmma mean, in plain C++ (hopper.cc); the names are those of gpu/hopper.cuh.
//
// Stricter than the hardware: a copy spoils its target when it is issued and lands when its thread is next switched (odd seeds) or
// when nobody can run on without it (even seeds); wgmma spoils its accumulators when it is issued, and reads shared memory and
// delivers only when its thread waits for its group. What it cannot see is a missing fence between ordinary writes to shared
// memory and wgmma; after cp.async it asks for one.
#pragma once
#include "ptx.cuh"

#define __grid_constant__

namespace moe {

/// A matrix [rows, cols] of bf16 and the box [boxRows, 64] that a copy takes from it.
struct TensorMap {
  const bf16* data;
  int64_t rows, cols, stride;
  int boxRows;
};

namespace machine {

inline bool hasHopper() { return true; }
/// Ops run the portable kernels here, so that both kinds are covered: calls that are for Hopper's name them.
inline constexpr bool kPrefersHopper = false;
/// @throws Error("internal") for what the driver would refuse.
TensorMap tensorMap(const void* data, int64_t rows, int64_t cols, int64_t stride, int boxRows);

/// One wgmma of this thread. d has `count` accumulators; aFirst, bFirst: the operand's lines are k.
void issueProduct(float* d, int count, uint64_t a, uint64_t b, bool add, bool aFirst, bool bFirst);
/// The same with this lane's fragment of a.
void issueProduct(float* d, int count, const uint32_t* a, uint64_t b, bool add, bool bFirst);
void fenceProducts();
void commitProducts();
void landProducts(int groupsInFlight);
/// Fails when products in flight still add to d.
void requireLanded(const float* d);

}  // namespace machine

namespace ptx {

/// Whether this is code for a machine that has all this; on others such kernels have no body.
inline constexpr bool kHopper = true;

using Mbarrier = uint64_t;

void initBarrier(Mbarrier* b, int arrivals);
/// Makes this thread's initialised barriers known to the copy engine.
void fenceBarrierInit();
/// Makes what this thread wrote to shared memory, or copied there by cp.async and waited for, visible to wgmma.
void fenceAsyncProxy();
void arrive(Mbarrier* b);
/// Arrives and lets the phase last until `bytes` more have been copied.
void arriveExpect(Mbarrier* b, int bytes);
/// Waits until the phase of that parity has ended; the first phase has parity 0, and "the one before it" parity 1.
void waitBarrier(Mbarrier* b, uint32_t parity);

/// Starts copying the box at (row, col) of the map to `shared`, a multiple of 1024; its bytes count towards b.
void copyBox(void* shared, const TensorMap& map, int row, int col, Mbarrier* b);

/// Starts copying bytes as they lie; addresses and count are multiples of 16. They count towards b.
void copyBytes(void* shared, const void* global, int bytes, Mbarrier* b);

/// Where a tile begins in shared memory, with the fields of the hardware's descriptor: rows along k, or (First) lines that are k,
/// the next 64 of m or n `next` bytes further.
uint64_t descriptor(const void* p);
uint64_t descriptorFirst(const void* p, int next);

inline void wgmmaFence() { machine::fenceProducts(); }
inline void wgmmaCommit() { machine::commitProducts(); }
template <int groups, int n> void wgmmaWait(float (&)[n]) { machine::landProducts(groups); }
/// The same for accumulators that no group still in flight adds to: they may be used from here on.
template <int groups, int n> void wgmmaLanded(float (&d)[n]) {
  machine::landProducts(groups);
  machine::requireLanded(d);
}

/// What the accumulators hold is of no use, and is lost.
template <int n> void wgmmaForget(float (&d)[n]) { memset(d, 0xff, sizeof d); }

/// d = [d +] a b^T: [64 x 16] times [n x 16] in bf16 by the 128 threads of a warpgroup; n = 64, 128, 192 or 256.
/// fragment::accumulator says who holds what. aFirst, bFirst: that operand's lines are k (descriptorFirst).
template <bool aFirst = false, bool bFirst = false, int count> void wgmma(float (&d)[count], uint64_t a, uint64_t b, bool add) {
  static_assert(count == 32 || count == 64 || count == 96 || count == 128);
  machine::issueProduct(d, count, a, b, add, aFirst, bFirst);
}
/// The same with a in registers: the four of each lane are its A fragment of mma.m16n8k16 for the 16 rows of its warp
/// (fragment::a). They must not change before the product has been waited for.
template <bool bFirst = false, int count> void wgmma(float (&d)[count], const uint32_t (&a)[4], uint64_t b, bool add) {
  static_assert(count == 32 || count == 64 || count == 96 || count == 128);
  machine::issueProduct(d, count, a, b, add, bFirst);
}

/// Registers have no limit here.
template <int n> void takeRegisters() { static_assert(n % 8 == 0 && n >= 24 && n <= 256); }
template <int n> void giveRegisters() { static_assert(n % 8 == 0 && n >= 24 && n <= 256); }

}  // namespace ptx

}  // namespace moe
