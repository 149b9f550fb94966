// router   s = sigmoid(logits) or softmax(logits);  c = s + bias
//          a group's score is the sum of its `group_best` largest c; the best `top_groups` groups stay, then the best K experts
//          w_k = scale * s_k (/ sum of the chosen s when normalised)          DeepSeek-V2 section 2.2; V3 section 2.1.2
// backward, with u_k = dw_k scale:  ds_k = u_k,  or (u_k - sum_j u_j s_j / S) / S when normalised;  ds += dscores
//          dlogits = ds s (1 - s)   or   s (ds - sum ds s)
//
// How it runs: one warp a token, its row of scores in shared memory; each choice is one pass of the warp over the row. Experts are
// counted by block in shared memory, and a second kernel adds the blocks' counts: all tokens at the same few lines of global memory
// would wait for each other. Bound by latency: E is small.
#include "best.cuh"

namespace moe::cuda {

namespace {

constexpr int kWarps = 4, kThreads = kWarps * kLanes, kMaxGroups = 256;
constexpr int kMostWarps = 16;  ///< of a block that chooses; fewer where experts are many
constexpr size_t kMostShared = 48 * 1024;

struct Choice {
  int experts, active, groups, topGroups, groupBest;
};

/// Sum of the `count` largest of x[0, n), by one lane.
__device__ float sumOfBest(const float* x, int n, int count) {
  float sum = 0;
  Best last{INFINITY, -1};
  for (int k = 0; k < count; k++) {  // the next one in the order (value descending, index ascending)
    Best next{-INFINITY, -1};
    for (int i = 0; i < n; i++) {
      const bool later = x[i] < last.value || (x[i] == last.value && i > last.at);
      if (later && (next.at < 0 || x[i] > next.value)) next = {x[i], i};
    }
    if (next.at < 0) break;
    sum += next.value;
    last = next;
  }
  return sum;
}

/// Sets the choice scores of all but the best groups to -inf.
__device__ void keepGroups(float* c, float* score, const Choice& o, int lane) {
  const int each = o.experts / o.groups;
  for (int g = lane; g < o.groups; g += kLanes) score[g] = sumOfBest(c + g * each, each, o.groupBest);
  __syncwarp();
  for (int k = 0; k < o.topGroups; k++) {
    const Best b = bestOf(score, o.groups, lane);
    __syncwarp();
    if (lane == 0) score[b.at == kNowhere ? 0 : b.at] = NAN;  // kept: no comparison takes it again
    __syncwarp();
  }
  for (int e = lane; e < o.experts; e += kLanes)
    if (score[e / each] == score[e / each]) c[e] = -INFINITY;
  __syncwarp();
}

/// s of one token, by the whole warp.
__device__ void scoresOf(const float* logits, float* s, int n, bool sigmoid, int lane) {
  if (sigmoid) {
    for (int e = lane; e < n; e += kLanes) s[e] = 1.f / (1.f + expf(-logits[e]));
    return;
  }
  float largest = -INFINITY, total = 0;
  for (int e = lane; e < n; e += kLanes) largest = fmaxf(largest, logits[e]);
  largest = warpMost(largest);
  for (int e = lane; e < n; e += kLanes) total += expf(logits[e] - largest);
  total = warpSum(total);
  for (int e = lane; e < n; e += kLanes) s[e] = expf(logits[e] - largest) / total;
}

struct RouterArguments {
  float* weights;
  int32_t* experts;
  float* scores;
  int32_t* counts;  ///< [blocks, experts]
  const float *logits, *bias;
  const int32_t *active, *replay;
  int64_t tokens;
  Choice choice;
  bool sigmoid, normalise;
  float scale;
  int32_t* fault;
};

/// Chooses for token t, by the whole warp. c: its room for experts and groups; counts: of the block.
__device__ void route(const RouterArguments& a, int64_t t, float* c, int* counts, int lane) {
  const int n = a.choice.experts, each = a.choice.active;
  float* s = a.scores + t * n;
  int32_t* chosen = a.experts + t * each;
  scoresOf(a.logits + t * n, s, n, a.sigmoid, lane);
  __syncwarp();
  if ((a.active && a.active[t] == 0) || (a.replay && a.replay[t * each] < 0)) {
    for (int k = lane; k < each; k += kLanes) {
      chosen[k] = -1;
      a.weights[t * each + k] = 0;
    }
    return;
  }
  for (int e = lane; e < n; e += kLanes) c[e] = s[e] + (a.bias ? a.bias[e] : 0.f);
  __syncwarp();
  if (!a.replay && a.choice.groups > 1) keepGroups(c, c + n, a.choice, lane);
  float total = 0;
  for (int k = 0; k < each; k++) {
    int e;
    if (a.replay) e = a.replay[t * each + k];
    else e = bestOf(c, n, lane).at;
    if (e < 0 || e >= n) {  // a foolish replay, or logits that are not numbers
      if (a.replay && lane == 0) *a.fault = static_cast<int32_t>(machine::Fault::id);
      e = 0;
    }
    __syncwarp();
    if (lane == 0) {
      chosen[k] = e;
      c[e] = -INFINITY;
      atomicAdd(counts + e, 1);
    }
    total += s[e];
    __syncwarp();
  }
  const float factor = a.normalise ? a.scale / (total + 1e-20f) : a.scale;
  for (int k = lane; k < each; k += kLanes) a.weights[t * each + k] = s[chosen[k]] * factor;
}

/// Shared memory of a block: its counts, then each warp's room.
size_t routerBytes(const Choice& c, int warps) { return (c.experts + static_cast<size_t>(warps) * (c.experts + c.groups)) * sizeof(float); }

__global__ void __launch_bounds__(kMostWarps * kLanes) routerForward(RouterArguments a) {
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes, n = a.choice.experts;
  int* counts = sharedMemory<int>();
  for (int e = threadIdx.x; e < n; e += blockDim.x) counts[e] = 0;
  __syncthreads();
  const int64_t t = blockIdx.x * int64_t{blockDim.x / kLanes} + warp;
  if (t < a.tokens) route(a, t, reinterpret_cast<float*>(counts + n) + warp * (n + a.choice.groups), counts, lane);
  __syncthreads();
  for (int e = threadIdx.x; e < n; e += blockDim.x) a.counts[blockIdx.x * int64_t{n} + e] = counts[e];
}

/// counts[e] = sum over the blocks of parts[block][e]. The warps of a block share the blocks of 32 experts.
__global__ void __launch_bounds__(kThreads) sumCounts(int32_t* counts, const int32_t* parts, int blocks, int n) {
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes, e = blockIdx.x * kLanes + lane;
  int sum = 0;
  if (e < n)
#pragma unroll 16
    for (int block = warp; block < blocks; block += kWarps) sum += parts[block * int64_t{n} + e];
  int* shared = sharedMemory<int>();
  shared[threadIdx.x] = sum;
  __syncthreads();
  if (warp > 0 || e >= n) return;
  for (int w = 1; w < kWarps; w++) sum += shared[w * kLanes + lane];
  counts[e] = sum;
}

struct GradientArguments {
  float* dlogits;
  float beta;
  const float *dweights, *dscores;
  const int32_t* experts;
  const float* scores;
  int64_t tokens;
  int n, each;
  bool sigmoid, normalise;
  float scale;
};

__global__ void __launch_bounds__(kThreads) routerBackward(GradientArguments a) {
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes, n = a.n;
  const int64_t t = blockIdx.x * int64_t{kWarps} + warp;
  if (t >= a.tokens) return;
  float* ds = sharedMemory<float>() + warp * n;
  const float* s = a.scores + t * n;
  const float* dw = a.dweights + t * a.each;
  const int32_t* chosen = a.experts + t * a.each;
  for (int e = lane; e < n; e += kLanes) ds[e] = a.dscores ? a.dscores[t * n + e] : 0.f;
  __syncwarp();
  if (lane == 0 && chosen[0] >= 0) {  // K small numbers, in order; an expert that is replayed twice counts twice
    float total = 1e-20f, mean = 0;
    for (int k = 0; k < a.each; k++) total += s[chosen[k]];
    for (int k = 0; k < a.each; k++) mean += dw[k] * s[chosen[k]] / total;
    for (int k = 0; k < a.each; k++) ds[chosen[k]] += a.normalise ? a.scale * (dw[k] - mean) / total : a.scale * dw[k];
  }
  __syncwarp();
  float shared = 0;
  if (!a.sigmoid) {
    for (int e = lane; e < n; e += kLanes) shared += ds[e] * s[e];
    shared = warpSum(shared);
  }
  for (int e = lane; e < n; e += kLanes)
    accumulate(a.dlogits + t * n + e, a.sigmoid ? ds[e] * s[e] * (1 - s[e]) : s[e] * (ds[e] - shared), a.beta);
}

void check(const Choice& c) {
  const auto fail = [](const std::string& sentence) { throw Error("bad-argument", "router_forward: " + sentence); };
  if (c.groups < 1 || c.groups > kMaxGroups || c.experts % c.groups) fail(std::to_string(c.experts) + " experts do not fall into " + std::to_string(c.groups) + " equal groups (at most 256).");
  if (c.topGroups < 1 || c.topGroups > c.groups) fail(std::to_string(c.topGroups) + " of " + std::to_string(c.groups) + " groups cannot be kept.");
  if (c.active > c.topGroups * (c.experts / c.groups)) fail(std::to_string(c.active) + " experts per token are more than the kept groups hold.");
  if (routerBytes(c, 1) > kMostShared) fail(std::to_string(c.experts) + " experts are more than this device routes (" + std::to_string((kMostShared / sizeof(float) - c.groups) / 2) + ").");
}

}  // namespace

void router_forward(Out weights, Out experts, Out scores, Out counts, In logits, MaybeIn bias, MaybeIn active, MaybeIn replay,
                    int64_t groups, int64_t top_groups, int64_t group_best, bool sigmoid, bool normalise, float scale) {
  const int n = static_cast<int>(logits.shape[1]);
  const Choice choice{n, static_cast<int>(weights.shape[1]), static_cast<int>(groups), static_cast<int>(top_groups), static_cast<int>(group_best)};
  check(choice);
  const int64_t tokens = logits.shape[0];
  int warps = kMostWarps;
  while (routerBytes(choice, warps) > kMostShared) warps /= 2;
  const unsigned grid = blocks(divideUp(tokens, int64_t{warps}));
  int32_t* parts = machine::scratch<int32_t>(0, most(int64_t{grid} * n, int64_t{1}));
  const RouterArguments a{weights.as<float>(), experts.as<int32_t>(), scores.as<float>(), parts, logits.as<float>(), static_cast<const float*>(bias.data),
                          static_cast<const int32_t*>(active.data), static_cast<const int32_t*>(replay.data), tokens, choice, sigmoid, normalise, scale, machine::faultWord()};
  launch(routerForward, grid, warps * kLanes, routerBytes(choice, warps), a);
  launch(sumCounts, divideUp(n, kLanes), kThreads, kThreads * sizeof(int), counts.as<int32_t>(), parts, static_cast<int>(grid), n);
}

void router_backward(Acc dlogits, In dweights, MaybeIn dscores, In weights, In experts, In scores, bool sigmoid, bool normalise, float scale) {
  if (!dlogits) return;
  const int n = static_cast<int>(scores.shape[1]);
  const GradientArguments a{dlogits.as<float>(), dlogits.beta, dweights.as<float>(), static_cast<const float*>(dscores.data), experts.as<int32_t>(), scores.as<float>(),
                            scores.shape[0], n, static_cast<int>(weights.shape[1]), sigmoid, normalise, scale};
  launch(routerBackward, blocks(divideUp(scores.shape[0], int64_t{kWarps})), kThreads, kWarps * n * sizeof(float), a);
}

}  // namespace moe::cuda
