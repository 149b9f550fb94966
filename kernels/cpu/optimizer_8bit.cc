// adamw_8bit: AdamW with moments in 8 bits (moments.h), masters in f32 or, rounded stochastically, in bf16.
//
// How it runs: a task takes some blocks of 256 elements of a parameter; each is widened to f32, updated (adam.h), and written back with new
// scales. What bounds it: the arithmetic of the codes.
#include "adam.h"
#include "segments.h"

namespace moe::MOE_ISA {

namespace {

constexpr int64_t kTaskBlocks = 64;

/// One block's state between its bytes.
struct Moments {
  float m[moments::kBlock], v[moments::kBlock];
};

void widenBlock(Moments& to, const uint8_t* m, const uint8_t* root, float mScale, float rootScale, int n) {
  for (int i = 0; i < n; i++) {
    const float r = moments::rootOf(root[i], rootScale);
    to.m[i] = moments::firstOf(m[i], mScale);
    to.v[i] = r * r;
  }
}

void narrowBlock(const Moments& from, uint8_t* m, uint8_t* root, float& mScale, float& rootScale, const uint32_t* words, int n) {
  float r[moments::kBlock], most = 0, mostRoot = 0;
  for (int i = 0; i < n; i++) {
    r[i] = __builtin_sqrtf(from.v[i]);
    most = std::fmax(most, std::fabs(from.m[i]));
    mostRoot = std::fmax(mostRoot, r[i]);
  }
  const float inverse = most > 0 ? 1 / most : 0, inverseRoot = mostRoot > 0 ? 1 / mostRoot : 0;
  mScale = most;
  rootScale = mostRoot;
  for (int i = 0; i < n; i++) {
    m[i] = moments::firstByte(from.m[i], inverse, moments::firstNoise(words[i]));
    root[i] = moments::rootByte(r[i], inverseRoot, moments::rootNoise(words[i]));
  }
}

template <class P, class G> void updateBlock(const Adam& a, Moments& state, P* p, bf16* copy, const G* g, int64_t begin, int n) {
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    vec m = load(state.m + i), v = load(state.v + i);
    const vec next = update(a, load(p + begin + i), load(g + begin + i), m, v);
    store(state.m + i, m);
    store(state.v + i, v);
    storeMaster(a, p, begin + i, next, kLanes);
    if (copy) store(copy + begin + i, next);
  }
  if (const int left = n - i) {
    vec m = loadPart(state.m + i, left), v = loadPart(state.v + i, left);
    const vec next = update(a, loadPart(p + begin + i, left), loadPart(g + begin + i, left), m, v);
    storePart(state.m + i, m, left);
    storePart(state.v + i, v, left);
    storeMaster(a, p, begin + i, next, left);
    if (copy) storePart(copy + begin + i, next, left);
  }
}

}  // namespace

void adamw_8bit(List<Mut> master, List<MaybeOut> copy, List<MaybeIn> grad, List<Mut> m, List<Mut> root, List<Mut> m_scale, List<Mut> root_scale,
                List<float> decay, In scale, In rates, float beta1, float beta2, float eps) {
  for (int64_t i = 0; i < master.count; i++) {
    const int64_t size = master[i].size(), count = divideUp(size, moments::kBlock);
    if (m_scale[i].size() != count)
      throw Error("bad-argument", "adamw_8bit: m_scale has " + std::to_string(m_scale[i].size()) + " scales, but " + std::to_string(size) + " parameters have " + std::to_string(count) + " blocks of 256.");
  }
  const Step step(scale, rates, beta1, beta2, eps);
  if (!step.allowed()) return;
  const auto size = [&](int64_t i) { return grad[i] ? master[i].size() : 0; };
  overSegments(segmentTable(master.count), master.count, kTaskBlocks * moments::kBlock, size, [&](int64_t i, int64_t first, int64_t end, int64_t) {
    const Adam a = step.of(i, master.count, decay[i]);
    dispatch(master[i].dtype, grad[i].dtype, [&](auto tp, auto tg) {
      using P = decltype(tp);
      using G = decltype(tg);
      for (int64_t begin = first; begin < end; begin += moments::kBlock) {
        const int64_t b = begin / moments::kBlock;
        const int n = static_cast<int>(end - begin < moments::kBlock ? end - begin : moments::kBlock);
        Moments state;
        uint32_t words[moments::kBlock];
        widenBlock(state, m[i].as<uint8_t>() + begin, root[i].as<uint8_t>() + begin, m_scale[i].as<float>()[b], root_scale[i].as<float>()[b], n);
        updateBlock(a, state, master[i].as<P>(), copy[i] ? copy[i].as<bf16>() : nullptr, grad[i].as<G>(), begin, n);
        randomWords(words, a.seed, begin, n);
        narrowBlock(state, m[i].as<uint8_t>() + begin, root[i].as<uint8_t>() + begin, m_scale[i].as<float>()[b], root_scale[i].as<float>()[b], words, n);
      }
    });
  });
}

}  // namespace moe::MOE_ISA
