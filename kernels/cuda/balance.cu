// Load-balance losses of V2 and V3, value and gradient at once.
//   per sequence of T tokens:  f_i = E/(K T) * count_i,  P_i = mean_t p_ti,  p = scores (divided by their sum: rescale)
//   expert         alpha * sum_i f_i P_i
//   device         alpha_device * sum_d f'_d P'_d,          f'_d = mean of f in d,            P'_d = sum of P in d
//   communication  alpha_communication * sum_d f''_d P''_d, f''_d = D/(M T) * tokens sent to d
//   loss = mean over sequences; f is constant in the gradient, so dL/dP_i is a number g_i and dp_ti = g_i / T.
//
// How it runs: (1) a warp a token: its row's sum and, for own_top, its best K; (2) a block a sequence: a thread owns an expert and
// walks the tokens, so that sums have one order; (3) a warp a token: the gradient. Bound by latency; small beside the layer.
#include "best.cuh"

namespace moe::cuda {

namespace {

constexpr int kWarps = 4, kThreads = kWarps * kLanes, kBlock = 256;

struct Balance {
  const float* scores;
  const int32_t* experts;   // as routed
  const int32_t* segments;
  float* totals;            // [T] sum of a row's scores, 1 unless rescaled
  int32_t* counted;         // [T,K] experts that count: as routed, or the best K of the scores
  double* losses;           // [Q]
  float* gradient;          // [Q,E] g
  float* share;             // [Q] 1 / (routed tokens * sequences), 0 without any
  int64_t tokens;
  int sequences, n, each, devices, topDevices;
  bool rescale, ownTop;
  float alpha, device, communication;
};

__global__ void __launch_bounds__(kThreads) tokenKernel(Balance b) {
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  const int64_t t = blockIdx.x * int64_t{kWarps} + warp;
  if (t >= b.tokens) return;
  float* c = sharedMemory<float>() + warp * b.n;
  float sum = 0;
  for (int e = lane; e < b.n; e += kLanes) {
    c[e] = b.scores[t * b.n + e];
    sum += c[e];
  }
  sum = warpSum(sum);
  if (lane == 0) b.totals[t] = b.rescale && sum > 0 ? sum : 1.f;
  __syncwarp();
  for (int k = 0; k < b.each; k++) {
    int e = b.experts[t * b.each + k];
    if (b.ownTop) {
      e = bestOf(c, b.n, lane).at;
      __syncwarp();
      if (lane == 0 && e < b.n) c[e] = -INFINITY;
      __syncwarp();
    }
    if (lane == 0) b.counted[t * b.each + k] = e < b.n ? e : -1;
  }
}

/// Tokens of the sequence that reach device d.
__device__ int sentTo(const Balance& b, int d, int64_t begin, int64_t end) {
  const int size = b.n / b.devices;
  int tokens = 0;
  for (int64_t t = begin; t < end; t++) {
    bool reaches = false;
    for (int k = 0; k < b.each; k++) {
      const int e = b.experts[t * b.each + k];
      reaches |= e >= 0 && e / size == d;
    }
    tokens += reaches;
  }
  return tokens;
}

__global__ void __launch_bounds__(kBlock, 2) sequenceKernel(Balance b) {
  double* f = sharedMemory<double>();
  double *p = f + b.n, *factor = p + b.n, *reduce = factor + b.n;
  const int64_t begin = b.segments[blockIdx.x], end = b.segments[blockIdx.x + 1];
  int routed = 0;
  for (int64_t t = begin + threadIdx.x; t < end; t += kBlock) routed += b.experts[t * b.each] >= 0;
  routed = static_cast<int>(blockSum(static_cast<double>(routed), reduce));
  for (int e = threadIdx.x; e < b.n; e += kBlock) {
    double probability = 0;
    int count = 0;
    for (int64_t t = begin; t < end; t++) {
      if (b.experts[t * b.each] < 0) continue;
      probability += static_cast<double>(b.scores[t * b.n + e]) / b.totals[t];
      for (int k = 0; k < b.each; k++) count += b.counted[t * b.each + k] == e;
    }
    f[e] = routed ? static_cast<double>(b.n) / (static_cast<double>(b.each) * routed) * count : 0;
    p[e] = routed ? probability / routed : 0;
  }
  __syncthreads();
  double loss = 0;
  for (int d = threadIdx.x; d < b.devices; d += kBlock) {
    const int size = b.n / b.devices;
    double mean = 0, probability = 0;
    for (int e = d * size; e < (d + 1) * size; e++) {
      mean += f[e] / size;
      probability += p[e];
    }
    const double sent = routed && b.communication != 0 ? static_cast<double>(b.devices) / (static_cast<double>(b.topDevices) * routed) * sentTo(b, d, begin, end) : 0;
    factor[d] = b.device * mean + b.communication * sent;
    loss += factor[d] * probability;
  }
  __syncthreads();
  for (int e = threadIdx.x; e < b.n; e += kBlock) {
    const double g = b.alpha * f[e];
    loss += g * p[e];
    b.gradient[blockIdx.x * int64_t{b.n} + e] = static_cast<float>(g + (b.devices > 0 ? factor[e / (b.n / b.devices)] : 0));
  }
  loss = blockSum(loss, reduce);
  if (threadIdx.x != 0) return;
  b.losses[blockIdx.x] = routed ? loss : 0;
  b.share[blockIdx.x] = routed ? static_cast<float>(1.0 / (static_cast<double>(routed) * b.sequences)) : 0.f;
}

__global__ void __launch_bounds__(kBlock) meanKernel(float* loss, const double* losses, int sequences) {
  double* reduce = sharedMemory<double>();
  double sum = 0;
  for (int q = threadIdx.x; q < sequences; q += kBlock) sum += losses[q];
  sum = blockSum(sum, reduce);
  if (threadIdx.x == 0) *loss = static_cast<float>(sequences ? sum / sequences : 0.0);
}

__global__ void __launch_bounds__(kThreads) spreadKernel(float* dscores, float beta, Balance b) {
  const int lane = threadIdx.x % kLanes;
  const int64_t t = blockIdx.x * int64_t{kWarps} + threadIdx.x / kLanes;
  if (t >= b.tokens) return;
  int sequence = -1;
  for (int base = 0; base < b.sequences && sequence < 0; base += kLanes) {
    const int q = base + lane;
    const unsigned mine = __ballot_sync(kAll, q < b.sequences && b.segments[q] <= t && t < b.segments[q + 1]);
    if (mine) sequence = base + __ffs(mine) - 1;
  }
  const float weight = sequence >= 0 && b.experts[t * b.each] >= 0 ? b.share[sequence] : 0.f;
  const float* g = b.gradient + most(sequence, 0) * int64_t{b.n};
  const float* s = b.scores + t * b.n;
  float mean = 0;
  if (b.rescale) {
    for (int e = lane; e < b.n; e += kLanes) mean += g[e] * s[e];
    mean = warpSum(mean) / b.totals[t];
  }
  for (int e = lane; e < b.n; e += kLanes) accumulate(dscores + t * b.n + e, weight == 0 ? 0.f : weight * (g[e] - mean) / b.totals[t], beta);
}

}  // namespace

void balance_loss(Out loss, Acc dscores, In scores, In experts, In segments, bool rescale, bool own_top, float alpha,
                  int64_t devices, int64_t top_devices, float alpha_device, float alpha_communication) {
  const int64_t tokens = scores.shape[0], n = scores.shape[1], sequences = segments.shape[0] - 1, each = experts.shape[1];
  if (devices > 0 && n % devices) throw Error("bad-argument", "balance_loss: " + std::to_string(n) + " experts do not lie evenly on " + std::to_string(devices) + " devices.");
  if (kWarps * n * sizeof(float) > 48 * 1024) throw Error("bad-argument", "balance_loss: " + std::to_string(n) + " experts are more than this device serves (3072).");
  auto* perToken = machine::scratch<float>(0, most(tokens, int64_t{1}) * (1 + each));
  auto* perSequence = machine::scratch<double>(1, most(sequences, int64_t{1}));
  auto* gradient = machine::scratch<float>(2, most(sequences, int64_t{1}) * (n + 1));
  const Balance b{scores.as<float>(), experts.as<int32_t>(), segments.as<int32_t>(), perToken, reinterpret_cast<int32_t*>(perToken + tokens), perSequence, gradient, gradient + sequences * n,
                  tokens, static_cast<int>(sequences), static_cast<int>(n), static_cast<int>(each), static_cast<int>(devices), static_cast<int>(top_devices), rescale, own_top, alpha, alpha_device, alpha_communication};
  const unsigned perWarp = blocks(divideUp(tokens, int64_t{kWarps}));
  constexpr size_t kReduce = kBlock / kLanes * sizeof(double);
  launch(tokenKernel, perWarp, kThreads, kWarps * n * sizeof(float), b);
  launch(sequenceKernel, blocks(sequences), kBlock, 3 * n * sizeof(double) + kReduce, b);
  launch(meanKernel, 1, kBlock, kReduce, loss.as<float>(), perSequence, static_cast<int>(sequences));
  if (dscores) launch(spreadKernel, perWarp, kThreads, 0, dscores.as<float>(), dscores.beta, b);
}

}  // namespace moe::cuda
