// adamw_8bit   AdamW (optimizer.cu) with moments in 8 bits, a scale to each 256 of them (kernels/moments.h)
//
// How it runs and what bounds it: memory; 18 bytes a parameter with an f32 master and gradient and a bf16 copy. A warp takes a block
// of 256 elements, 8 to a lane: it widens the state, updates, finds the new scales by shuffles and writes the codes, so the state
// is read and written once. All parameters of one type go in one launch (segments.cuh). The random words cost some 15 integer instructions an element.
#include "adam.cuh"

namespace moe::cuda {

namespace {

constexpr int kThreads = 128, kEach = moments::kBlock / kLanes;

template <class P, class G> struct Parameter8 {
  P* p;
  bf16* copy;
  const G* grad;
  uint8_t *m, *root;
  float *mScale, *rootScale;
  int64_t size;
  float decay;
  int place;
  bool wide;
};

using Bytes = Pack<uint8_t, kEach>;

/// Elements [at, at + kEach) as floats, those beyond `count` 0.
template <class T> __device__ __forceinline__ Floats<kEach> loadSome(const T* p, int64_t at, int count, bool wide) {
  if (wide) return load<kEach>(p + at);
  Floats<kEach> x;
#pragma unroll
  for (int i = 0; i < kEach; i++) x.at[i] = i < count ? widen(p[at + i]) : 0.f;
  return x;
}
__device__ __forceinline__ Bytes loadSome(const uint8_t* p, int64_t at, int count, bool wide) {
  if (wide) return *reinterpret_cast<const Bytes*>(p + at);
  Bytes x;
#pragma unroll
  for (int i = 0; i < kEach; i++) x.at[i] = i < count ? p[at + i] : uint8_t{0};
  return x;
}
template <class T> __device__ __forceinline__ void storeSome(T* p, int64_t at, const Pack<T, kEach>& x, int count, bool wide) {
  if (wide) {
    *reinterpret_cast<Pack<T, kEach>*>(p + at) = x;
    return;
  }
#pragma unroll
  for (int i = 0; i < kEach; i++)
    if (i < count) p[at + i] = x.at[i];
}

__device__ __forceinline__ float rounded(float x, uint32_t, float*) { return x; }
__device__ __forceinline__ bf16 rounded(float x, uint32_t word, bf16*) { return {moments::roundedAtRandom(__float_as_uint(x), moments::parameterNoise(word))}; }

/// A warp's block of a parameter.
template <class P, class G> __device__ __forceinline__ void updateBlock(const Parameter8<P, G>& s, const Adam& a, float factor, int64_t block) {
  const int lane = threadIdx.x % kLanes;
  const int64_t at = block * moments::kBlock + lane * kEach;
  const int count = static_cast<int>(most(least(s.size - at, int64_t{kEach}), int64_t{0}));
  const bool wide = s.wide && count == kEach;
  Floats<kEach> x = loadSome(s.p, at, count, wide);
  const Floats<kEach> g = loadSome(s.grad, at, count, wide);
  const Bytes oldM = loadSome(s.m, at, count, wide), oldRoot = loadSome(s.root, at, count, wide);
  const float mScale = s.mScale[block], rootScale = s.rootScale[block];
  Floats<kEach> m, root;
  float mMost = 0, rootMost = 0;
#pragma unroll
  for (int i = 0; i < kEach; i++) {
    m.at[i] = moments::firstOf(oldM.at[i], mScale);
    const float r = moments::rootOf(oldRoot.at[i], rootScale);
    float v = r * r;
    update(a, x.at[i], g.at[i] * factor, m.at[i], v);
    root.at[i] = sqrtf(v);
    if (i >= count) continue;
    mMost = fmaxf(mMost, fabsf(m.at[i]));
    rootMost = fmaxf(rootMost, root.at[i]);
  }
  mMost = warpMost(mMost);
  rootMost = warpMost(rootMost);
  const float mInverse = mMost > 0 ? 1 / mMost : 0.f, rootInverse = rootMost > 0 ? 1 / rootMost : 0.f;
  const Words<kEach> words(a.seed, at);
  Bytes newM, newRoot;
  Pack<P, kEach> next;
  Pack<bf16, kEach> copy;
#pragma unroll
  for (int i = 0; i < kEach; i++) {
    newM.at[i] = moments::firstByte(m.at[i], mInverse, moments::firstNoise(words.at[i]));
    newRoot.at[i] = moments::rootByte(root.at[i], rootInverse, moments::rootNoise(words.at[i]));
    next.at[i] = rounded(x.at[i], words.at[i], s.p);
    copy.at[i] = narrow(x.at[i]);
  }
  storeSome(s.m, at, newM, count, wide);
  storeSome(s.root, at, newRoot, count, wide);
  storeSome(s.p, at, next, count, wide);
  if (s.copy) storeSome(s.copy, at, copy, count, wide);
  __syncwarp();  // every lane has read the old scales
  if (lane == 0) {
    s.mScale[block] = mMost;
    s.rootScale[block] = rootMost;
  }
}

template <class P, class G>
__global__ void __launch_bounds__(kThreads, 6) adam8Kernel(const __grid_constant__ Segments<Parameter8<P, G>> all, Step step) {
  if (!step.allowed()) return;
  constexpr int kWarps = kThreads / kLanes, kBlocks = kTile / moments::kBlock;
  const int i = segmentOf(all, blockIdx.x);
  const Parameter8<P, G>& s = all.at[i];
  const Adam a = step.of(s.place, s.decay);
  const int64_t first = int64_t{static_cast<int>(blockIdx.x) - all.first[i]} * kBlocks;
#pragma unroll 1
  for (int64_t block = first + threadIdx.x / kLanes; block < first + kBlocks && block * moments::kBlock < s.size; block += kWarps)
    updateBlock(s, a, *step.scale, block);
}

}  // namespace

void adamw_8bit(List<Mut> master, List<MaybeOut> copy, List<MaybeIn> grad, List<Mut> m, List<Mut> root, List<Mut> m_scale, List<Mut> root_scale,
                List<float> decay, In scale, In rates, float beta1, float beta2, float eps) {
  for (int64_t i = 0; i < master.count; i++) {
    const int64_t size = master[i].size(), count = divideUp(size, int64_t{moments::kBlock});
    if (m_scale[i].size() != count)
      throw Error("bad-argument", "adamw_8bit: m_scale has " + std::to_string(m_scale[i].size()) + " scales, but " + std::to_string(size) + " parameters have " + std::to_string(count) + " blocks of 256.");
  }
  const Step step{scale.as<float>(), rates.as<double>(), beta1, beta2, eps, static_cast<uint64_t>(master.count)};
  forFloats([&](auto tp, DType kindP) {
    forFloats([&](auto tg, DType kindG) {
      using P = decltype(tp);
      using G = decltype(tg);
      auto batches = batchesOf<Parameter8<P, G>>([&](const auto& all, unsigned grid) { launch(adam8Kernel<P, G>, grid, kThreads, 0, all, step); });
      for (int64_t i = 0; i < master.count; i++) {
        if (!grad[i] || master[i].dtype != kindP || grad[i].dtype != kindG) continue;
        auto* const to = static_cast<bf16*>(copy[i].data);
        const bool wide = aligned(master[i].as<P>(), to, grad[i].as<G>(), m[i].as<uint8_t>(), root[i].as<uint8_t>());
        batches.add({master[i].as<P>(), to, grad[i].as<G>(), m[i].as<uint8_t>(), root[i].as<uint8_t>(), m_scale[i].as<float>(), root_scale[i].as<float>(),
                     master[i].size(), decay[i], static_cast<int>(i), wide},
                    divideUp(master[i].size(), int64_t{kTile}));
      }
      batches.flush();
    });
  });
}

}  // namespace moe::cuda
