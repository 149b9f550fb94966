// What the two backward kernels of attention on Hopper share. Each owns 64 rows a consumer warpgroup of one side (keys, or queries)
// and walks tiles of the other side through a ring.
#pragma once
#include "attention_hopper.cuh"

namespace moe::cuda::attention {

inline constexpr int kConsumers = 2, kThreads = kGroup * (1 + kConsumers), kConsumerWarps = kConsumers * kGroup / kLanes, kOwn = kConsumers * kGroupRows;
inline constexpr int kProducerRegisters = 24, kConsumerRegisters = 240;

/// `walked`: rows of the tiles that a block walks; it owns kOwn of the others.
template <class C, int walked, int stages> struct Plan {
  static constexpr int kDepth = C::kDepth, kValues = C::kValues, kWalked = walked, kSteps = walked / kStep, kStages = stages;
  static constexpr int kTileA = walked * kDepth, kTileB = walked * kValues;  // elements: of q or k, of dout or v
  static constexpr int kStageBytes = (kTileA + kTileB) * static_cast<int>(sizeof(bf16)), kOwnBytes = kOwn * (kDepth + kValues) * static_cast<int>(sizeof(bf16));
};

/// Own tiles, stages of walked tiles and of `Extra`, mbarriers.
template <class P, class Extra> struct Memory {
  bf16 *ownA, *ownB, *tiles;
  Extra* extra;
  Ring<P::kStages> ring;
  ptx::Mbarrier* own;
  static constexpr size_t kBytes = P::kOwnBytes + P::kStages * (P::kStageBytes + sizeof(Extra)) + (Ring<P::kStages>::kBarriers + 1) * sizeof(ptx::Mbarrier);
  __device__ explicit Memory(bf16* arena)
      : ownA(arena), ownB(ownA + kOwn * P::kDepth), tiles(ownB + kOwn * P::kValues), extra(reinterpret_cast<Extra*>(tiles + P::kStages * (P::kTileA + P::kTileB))),
        ring(reinterpret_cast<ptx::Mbarrier*>(extra + P::kStages)), own(ring.fulls + ring.kBarriers) {}
  __device__ bf16* a(int step) const { return tiles + ring.stage(step) * (P::kTileA + P::kTileB); }
  __device__ bf16* b(int step) const { return a(step) + P::kTileA; }
  __device__ Extra& of(int step) const { return extra[ring.stage(step)]; }
  __device__ void initBarriers() const {
    ring.init(1, kConsumerWarps);
    ptx::initBarrier(own, 1);
    ptx::fenceBarrierInit();
  }
};

struct BackwardMaps {
  TensorMap q, dout, k, shared, v;
};

/// Products over channels and over a walked tile, as both kernels need them, by the consumer `own`.
template <class P, class M> struct Products {
  const M& m;
  uint64_t ownA, ownB;
  __device__ Products(const M& m, int own) : m(m), ownA(ptx::descriptor(m.ownA + own * kGroupRows * kPanel)), ownB(ptx::descriptor(m.ownB + own * kGroupRows * kPanel)) {}
  /// s of the own rows by the walked ones; dp the same way.
  __device__ __forceinline__ void scores(float (&s)[P::kWalked / 2], int step) const {
    multiplyChannels<P::kDepth, kOwn, P::kWalked>(s, ownA, ptx::descriptor(m.a(step)));
    ptx::wgmmaCommit();
  }
  __device__ __forceinline__ void gradients(float (&dp)[P::kWalked / 2], int step) const {
    multiplyChannels<P::kValues, kOwn, P::kWalked>(dp, ownB, ptx::descriptor(m.b(step)));
    ptx::wgmmaCommit();
  }
  /// Adds `held` times the walked tile of q or k, or of dout.
  __device__ __forceinline__ void addA(float (&d)[P::kDepth / 2], const uint32_t (&held)[P::kSteps][4], int step) const {
    multiplyHeld(d, held, ptx::descriptorFirst(m.a(step), P::kWalked * kPanelLine));
    ptx::wgmmaCommit();
  }
  __device__ __forceinline__ void addB(float (&d)[P::kValues / 2], const uint32_t (&held)[P::kSteps][4], int step) const {
    multiplyHeld(d, held, ptx::descriptorFirst(m.b(step), P::kWalked * kPanelLine));
    ptx::wgmmaCommit();
  }
};

__device__ __forceinline__ bool sees(const Range& r, int key) { return r.begin <= key && key < r.end; }


// -- on the host ------------------------------------------------------------------------------------------------------------

/// Maps for a kernel that takes boxes of those many rows.
inline BackwardMaps mapsOf(const Backward<bf16>& a, int queryRows, int keyRows) {
  const Sizes& n = a.f.n;
  const KeyMaps keys = keyMaps(a.f, keyRows);
  return {mapOf(a.f.q, n.rows, n.heads, n.depth, queryRows), mapOf(a.dout, n.rows, n.heads, n.values, queryRows), keys.own, keys.shared, mapOf(a.f.v, n.keys, n.groups, n.values, keyRows)};
}

/// Whether tensor copies can describe what both kernels read.
inline bool describableBackward(const Backward<bf16>& a) {
  const Sizes& n = a.f.n;
  return describable(a.f.q, n.rows, n.heads, n.depth) && describable(a.dout, n.rows, n.heads, n.values) && describableKeys(a.f);
}

}  // namespace moe::cuda::attention
