// penalty   logits of ids in the history are divided (positive) or multiplied (negative) by it, once an id
// order     temperature, then top-k, top-p, min-p, then one draw from what is left
// logprob   log softmax(logits / temperature) at the token, before penalty and truncation; at temperature 0 (greedy) as if it were 1
//
// How it runs: one block a row. Nothing is sorted: top-k and top-p keep "all above a threshold", found by bisecting on the ordered
// integers behind the floats; ties at the threshold go to the smaller ids, found by bisecting on the id. The draw bisects on the
// cumulative sum in the order of ids at u = uniform(seed, position). A pass over a row of 130k logits comes from the second-level
// cache; there are about a hundred. Bound by latency.
#include "best.cuh"
#include "random.cuh"

namespace moe::cuda {

namespace {

constexpr int kThreads = 512, kWarps = kThreads / kLanes;

struct Settings {
  float temperature, topP, minP, penalty;
};

/// This block's row of logits as it is cut down.
struct Row {
  float* x;
  int n;
  double* reduce;  // one a warp
};

/// Sum of f(i) over the row, for every thread.
template <class F> __device__ double total(const Row& r, F f) {
  double sum = 0;
  for (int i = threadIdx.x; i < r.n; i += kThreads) sum += f(i);
  return blockSum(sum, r.reduce);
}

__device__ float largest(const Row& r) {
  float m = -INFINITY;
  for (int i = threadIdx.x; i < r.n; i += kThreads) m = fmaxf(m, r.x[i]);
  return blockMost(m, reinterpret_cast<float*>(r.reduce));
}

/// Integers in the order of the floats, and back.
__device__ int64_t ordered(float x) {
  const uint32_t u = __float_as_uint(x);
  return u >> 31 ? -static_cast<int64_t>(u & 0x7fffffff) : static_cast<int64_t>(u);
}
__device__ float unordered(int64_t key) { return __uint_as_float(key >= 0 ? static_cast<uint32_t>(key) : static_cast<uint32_t>(-key) | 0x80000000u); }

/// The smallest b in (a, b] for which enough(b) is false; enough(a) holds and enough falls once.
template <class F> __device__ int64_t border(int64_t a, int64_t b, F enough) {
  while (b - a > 1) {
    const int64_t middle = a + (b - a) / 2;
    if (enough(middle)) a = middle;
    else b = middle;
  }
  return b;
}

/// Keeps what lies above `limit`, and of those equal to it the first `ties`.
__device__ void keepAbove(const Row& r, float limit, double ties) {
  // The first id with at least `ties` equal ones before it.
  const int64_t end = border(-1, r.n, [&](int64_t id) { return total(r, [&](int i) { return r.x[i] == limit && i < id ? 1.0 : 0.0; }) < ties; });
  for (int i = threadIdx.x; i < r.n; i += kThreads)
    if (r.x[i] < limit || (r.x[i] == limit && i >= end)) r.x[i] = -INFINITY;
  __syncthreads();
}

__device__ void keepLargest(const Row& r, int keep) {
  if (keep <= 0 || keep >= r.n) return;
  const auto above = [&](float limit) { return total(r, [&](int i) { return r.x[i] > limit ? 1.0 : 0.0; }); };
  const float limit = unordered(border(ordered(-INFINITY) - 1, ordered(largest(r)), [&](int64_t key) { return key < ordered(-INFINITY) || above(unordered(key)) >= keep; }));
  keepAbove(r, limit, keep - above(limit));
}

__device__ void keepNucleus(const Row& r, float p) {
  if (p >= 1) return;
  const float top = largest(r);
  const auto above = [&](float limit) { return total(r, [&](int i) { return r.x[i] > limit ? static_cast<double>(expf(r.x[i] - top)) : 0.0; }); };
  const double wanted = p * above(-INFINITY);
  const float limit = unordered(border(ordered(-INFINITY) - 1, ordered(top), [&](int64_t key) { return key < ordered(-INFINITY) || above(unordered(key)) >= wanted; }));
  keepAbove(r, limit, ceil((wanted - above(limit)) / expf(limit - top)));
}

__device__ void keepLikely(const Row& r, float minP) {
  if (minP <= 0) return;
  const float limit = largest(r) + logf(minP);
  for (int i = threadIdx.x; i < r.n; i += kThreads)
    if (r.x[i] < limit) r.x[i] = -INFINITY;
  __syncthreads();
}

/// The first id at which the cumulative probability passes u.
__device__ int draw(const Row& r, float u) {
  const float top = largest(r);
  const auto before = [&](int64_t id) { return total(r, [&](int i) { return i < id ? static_cast<double>(expf(r.x[i] - top)) : 0.0; }); };
  const double wanted = u * before(r.n);
  // before(id + 1) > wanted first at `id`; a crumb of rounding at the end falls to the last id that is kept.
  const int64_t id = border(-1, r.n - 1, [&](int64_t middle) { return before(middle + 1) <= wanted; });
  return static_cast<int>(id);
}

__device__ int greedy(const Row& r) {
  Best mine{-INFINITY, kNowhere};
  for (int i = threadIdx.x; i < r.n; i += kThreads) mine = better(mine, {r.x[i], i});
  mine = warpBest(mine);
  auto* all = reinterpret_cast<Best*>(r.reduce);
  __syncthreads();
  if (threadIdx.x % kLanes == 0) all[threadIdx.x / kLanes] = mine;
  __syncthreads();
  for (int w = 0; w < kWarps; w++) mine = better(mine, all[w]);
  return mine.at == kNowhere ? 0 : mine.at;
}

template <class T> __global__ void __launch_bounds__(kThreads)
sampleKernel(int32_t* ids, float* logprob, const T* logits, float* work, int n, const float* settings, const int32_t* topK, const int32_t* seeds, const int32_t* history, int seen) {
  const int64_t at = blockIdx.x;
  const Row r{work + at * n, n, sharedMemory<double>()};
  const T* given = logits + at * n;
  const Settings s{settings[4 * at], settings[4 * at + 1], settings[4 * at + 2], settings[4 * at + 3]};
  const float factor = s.temperature > 0 ? 1 / s.temperature : 1.f;
  for (int i = threadIdx.x; i < n; i += kThreads) r.x[i] = widen(given[i]) * factor;
  __syncthreads();
  const float top = largest(r);
  const float lse = top + static_cast<float>(log(total(r, [&](int i) { return static_cast<double>(expf(r.x[i] - top)); })));
  if (s.penalty != 1)
    for (int j = threadIdx.x; j < seen; j += kThreads) {
      const int32_t id = history[at * seen + j];
      if (id < 0 || id >= n) continue;
      const float x = widen(given[id]) * factor;  // from the logit itself: an id that occurs twice is written twice, the same
      r.x[id] = x > 0 ? x / s.penalty : x * s.penalty;
    }
  __syncthreads();
  int id;
  if (s.temperature <= 0) id = greedy(r);
  else {
    keepLargest(r, topK[at]);
    keepNucleus(r, s.topP);
    keepLikely(r, s.minP);
    const Philox p = philox(static_cast<uint32_t>(seeds[2 * at]), static_cast<uint32_t>(seeds[2 * at + 1]), 1);
    id = draw(r, uniform(p.word[0]));
  }
  if (threadIdx.x != 0) return;
  ids[at] = id;
  logprob[at] = widen(given[id]) * factor - lse;
}

}  // namespace

void sample(Out ids, Out logprob, In logits, In settings, In top_k, In seeds, MaybeIn history) {
  const int64_t rows = logits.shape[0], n = logits.shape[1];
  float* work = machine::scratch<float>(0, most(rows * n, int64_t{1}));
  dispatch(logits.dtype, [&](auto t) {
    using T = decltype(t);
    launch(sampleKernel<T>, blocks(rows), kThreads, kWarps * sizeof(double), ids.as<int32_t>(), logprob.as<float>(), logits.as<T>(), work, static_cast<int>(n), settings.as<float>(),
           top_k.as<int32_t>(), seeds.as<int32_t>(), static_cast<const int32_t*>(history.data), history ? static_cast<int>(history.shape[1]) : 0);
  });
}

}  // namespace moe::cuda
