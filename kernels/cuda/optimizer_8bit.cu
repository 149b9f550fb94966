// adamw_8bit   AdamW (optimizer.cu) with moments in 8 bits, a scale to each 256 of them (kernels/moments.h)
//
// How it runs and what bounds it: memory; 18 bytes a parameter with an f32 master and gradient and a bf16 copy. A warp takes a block
// of 256 elements, 8 to a lane: it widens the state, updates, finds the new scales by shuffles and writes the codes, so the state
// is read and written once. The random words cost some 15 integer instructions an element.
#include "adam.cuh"

namespace moe::cuda {

namespace {

constexpr int kThreads = 256, kEach = moments::kBlock / kLanes;

template <class P, class G> struct State8 {
  P* p;
  bf16* copy;
  const G* grad;
  uint8_t *m, *root;
  float *mScale, *rootScale;
  const float* scale;
  int64_t size;
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

template <class P, class G> __global__ void __launch_bounds__(kThreads) adam8Kernel(Adam a, State8<P, G> s) {
  const int lane = threadIdx.x % kLanes;
  const int64_t block = blockIdx.x * int64_t{kThreads / kLanes} + threadIdx.x / kLanes, at = block * moments::kBlock + lane * kEach;
  if (block * moments::kBlock >= s.size) return;  // whole warps leave
  const int count = static_cast<int>(most(least(s.size - at, int64_t{kEach}), int64_t{0}));
  const bool wide = s.wide && count == kEach;
  Floats<kEach> x = loadSome(s.p, at, count, wide);
  const Floats<kEach> g = loadSome(s.grad, at, count, wide);
  const Bytes oldM = loadSome(s.m, at, count, wide), oldRoot = loadSome(s.root, at, count, wide);
  const float factor = *s.scale, mScale = s.mScale[block], rootScale = s.rootScale[block];
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

}  // namespace

void adamw_8bit(Mut master, MaybeOut copy, In grad, Mut m, Mut root, Mut m_scale, Mut root_scale, In scale, float lr, float beta1, float beta2, float eps,
                float decay, float correction1, float correction2, int64_t seed) {
  const int64_t size = master.size(), count = divideUp(size, int64_t{moments::kBlock});
  if (m_scale.size() != count)
    throw Error("bad-argument", "adamw_8bit: m_scale has " + std::to_string(m_scale.size()) + " scales, but " + std::to_string(size) + " parameters have " + std::to_string(count) + " blocks of 256.");
  const Adam a{lr, beta1, beta2, eps, decay, 1 / correction1, 1 / correction2, static_cast<uint64_t>(seed)};
  bool wide = true;
  for (const void* p : {master.data, copy.data, const_cast<void*>(grad.data), m.data, root.data}) wide &= reinterpret_cast<uintptr_t>(p) % 16 == 0;
  dispatch(master.dtype, [&](auto tp) {
    dispatch(grad.dtype, [&](auto tg) {
      using P = decltype(tp);
      using G = decltype(tg);
      const State8<P, G> s{master.as<P>(), static_cast<bf16*>(copy.data), grad.as<G>(), m.as<uint8_t>(), root.as<uint8_t>(),
                           m_scale.as<float>(), root_scale.as<float>(), scale.as<float>(), size, wide};
      launch(adam8Kernel<P, G>, blocks(divideUp(count, int64_t{kThreads / kLanes})), kThreads, 0, a, s);
    });
  });
}

}  // namespace moe::cuda
