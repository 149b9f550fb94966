// Attention without tensor cores: f32, and head sizes beyond those of the tensor kernels.
//
// How it runs: forward and dq: a warp takes one row of one head and 32 keys at a time, each lane a key's score; then lanes take
// channels. dk and dv: a warp takes one key of one group and walks the rows that see it, in order. Sums stay in shared memory,
// each channel with one lane. What bounds it: reading keys; this is the path of correctness.
#include "attention.cuh"

namespace moe::cuda::attention {

namespace {

constexpr int kWarps = 4, kThreads = kWarps * kLanes;

/// q . k over own and shared channels, by one lane. q lies in shared memory.
template <class T, class O> __device__ float scoreOf(const Forward<O>& f, const float* q, const T* key, int64_t s) {
  float sum = 0;
  for (int c = 0; c < f.n.own; c++) sum = fmaf(q[c], widen(key[c]), sum);
  for (int c = f.n.own; c < f.n.depth; c++) sum = fmaf(q[c], widen(*f.shared.at(s, c - f.n.own)), sum);
  return sum;
}

template <class T> __device__ void bring(float* to, const T* from, int count, int lane) {
  for (int c = lane; c < count; c += kLanes) to[c] = widen(from[c]);
}

template <class T> __global__ void __launch_bounds__(kThreads, 2) forwardKernel(Forward<T> f) {
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  const int64_t row = blockIdx.x * int64_t{kWarps} + warp;
  const int head = blockIdx.y, group = head / (f.n.heads / f.n.groups);
  if (row >= f.n.rows) return;
  float* q = sharedMemory<float>() + warp * (f.n.depth + f.n.values);
  float* o = q + f.n.depth;
  bring(q, f.q.at(row, head), f.n.depth, lane);
  for (int c = lane; c < f.n.values; c += kLanes) o[c] = 0;
  __syncwarp();
  const Range range = f.ranges[row];
  float top = -INFINITY, sum = 0;
  for (int64_t first = range.begin; first < range.end; first += kLanes) {
    const int64_t s = first + lane;
    const float score = s < range.end ? f.n.scale * scoreOf<const T>(f, q, f.k.at(s, group), s) : -INFINITY;
    const float higher = fmaxf(top, warpMost(score));
    const float fade = expf(top - higher), p = expf(score - higher);
    top = higher;
    sum = sum * fade + warpSum(p);
    const int count = static_cast<int>(least(int64_t{kLanes}, range.end - first));
    for (int c = lane; c < divideUp(f.n.values, kLanes) * kLanes; c += kLanes) {
      float out = c < f.n.values ? o[c] * fade : 0.f;
      for (int j = 0; j < count; j++) {
        const float pj = __shfl_sync(kAll, p, j);
        if (c < f.n.values) out = fmaf(pj, widen(f.v.at(first + j, group)[c]), out);
      }
      if (c < f.n.values) o[c] = out;
    }
  }
  for (int c = lane; c < f.n.values; c += kLanes) put(f.o.at(row, head) + c, sum > 0 ? o[c] / sum : 0.f);
  if (lane == 0) f.lse[row * f.n.heads + head] = sum > 0 ? top + logf(sum) : -INFINITY;
}

template <class T> __global__ void __launch_bounds__(kThreads) queryKernel(Backward<T> a) {
  const Forward<const T>& f = a.f;
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  const int64_t row = blockIdx.x * int64_t{kWarps} + warp;
  const int head = blockIdx.y, group = head / (f.n.heads / f.n.groups);
  if (row >= f.n.rows) return;
  float* q = sharedMemory<float>() + warp * (2 * f.n.depth + f.n.values);
  float *dq = q + f.n.depth, *dout = dq + f.n.depth;
  bring(q, f.q.at(row, head), f.n.depth, lane);
  bring(dout, a.dout.at(row, head), f.n.values, lane);
  for (int c = lane; c < f.n.depth; c += kLanes) dq[c] = 0;
  __syncwarp();
  const Range range = f.ranges[row];
  const float lse = f.lse[row * f.n.heads + head], delta = a.tileOf(row, head).delta[row % kRowTile];
  for (int64_t first = range.begin; first < range.end; first += kLanes) {
    const int64_t s = first + lane;
    float ds = 0;
    if (s < range.end) {
      const float p = expf(f.n.scale * scoreOf<const T>(f, q, f.k.at(s, group), s) - lse);
      float dp = 0;
      for (int c = 0; c < f.n.values; c++) dp = fmaf(dout[c], widen(f.v.at(s, group)[c]), dp);
      ds = p * (dp - delta) * f.n.scale;
    }
    const int count = static_cast<int>(least(int64_t{kLanes}, range.end - first));
    for (int c = lane; c < divideUp(f.n.depth, kLanes) * kLanes; c += kLanes) {
      float sum = c < f.n.depth ? dq[c] : 0.f;
      for (int j = 0; j < count; j++) {
        const float dsj = __shfl_sync(kAll, ds, j);
        if (c < f.n.own) sum = fmaf(dsj, widen(f.k.at(first + j, group)[c]), sum);
        else if (c < f.n.depth) sum = fmaf(dsj, widen(*f.shared.at(first + j, c - f.n.own)), sum);
      }
      if (c < f.n.depth) dq[c] = sum;
    }
  }
  for (int c = lane; c < f.n.depth; c += kLanes) accumulate(a.dq.at(row, head) + c, dq[c], a.dqBeta);
}

template <class T> __global__ void __launch_bounds__(kThreads) keyKernel(Backward<T> a) {
  const Forward<const T>& f = a.f;
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  const int64_t s = blockIdx.x * int64_t{kWarps} + warp;
  const int group = blockIdx.y, each = f.n.heads / f.n.groups;
  if (s >= f.n.keys) return;
  float* k = sharedMemory<float>() + warp * 2 * (f.n.depth + f.n.values);
  float *v = k + f.n.depth, *dk = v + f.n.values, *dv = dk + f.n.depth;
  bring(k, f.k.at(s, group), f.n.own, lane);
  if (f.shared) bring(k + f.n.own, f.shared.at(s), f.n.depth - f.n.own, lane);
  bring(v, f.v.at(s, group), f.n.values, lane);
  for (int c = lane; c < f.n.depth; c += kLanes) dk[c] = 0;
  for (int c = lane; c < f.n.values; c += kLanes) dv[c] = 0;
  __syncwarp();
  for (int64_t first = 0; first < f.n.rows; first += kLanes) {
    const Range range = first + lane < f.n.rows ? f.ranges[first + lane] : Range{0, 0};
    unsigned seen = __ballot_sync(kAll, range.begin <= s && s < range.end);
    while (seen) {
      const int64_t row = first + __ffs(seen) - 1;
      seen &= seen - 1;
      for (int head = group * each; head < (group + 1) * each; head++) {
        const T* q = f.q.at(row, head);
        const T* dout = a.dout.at(row, head);
        float score = 0, dp = 0;
        for (int c = lane; c < f.n.depth; c += kLanes) score = fmaf(widen(q[c]), k[c], score);
        for (int c = lane; c < f.n.values; c += kLanes) dp = fmaf(widen(dout[c]), v[c], dp);
        const float p = expf(f.n.scale * warpSum(score) - f.lse[row * f.n.heads + head]);
        const float ds = p * (warpSum(dp) - a.tileOf(row, head).delta[row % kRowTile]) * f.n.scale;
        for (int c = lane; c < f.n.depth; c += kLanes) dk[c] = fmaf(ds, widen(q[c]), dk[c]);
        for (int c = lane; c < f.n.values; c += kLanes) dv[c] = fmaf(p, widen(dout[c]), dv[c]);
      }
    }
  }
  const int shared = f.n.depth - f.n.own;
  if (a.dv.data)
    for (int c = lane; c < f.n.values; c += kLanes) accumulate(a.dv.at(s, group) + c, dv[c], a.dvBeta);
  for (int c = lane; c < f.n.depth; c += kLanes) {
    if (c < f.n.own) {
      if (a.dk.data) accumulate(a.dk.at(s, group) + c, dk[c], a.dkBeta);
    } else if (a.sharedParts) a.sharedParts[(group * f.n.keys + s) * shared + c - f.n.own] = dk[c];
  }
}

size_t bytesOf(int floatsPerWarp) { return kWarps * sizeof(float) * static_cast<size_t>(floatsPerWarp); }
dim3 gridOf(int64_t items, int heads) { return {blocks(divideUp(items, int64_t{kWarps})), static_cast<unsigned>(heads)}; }

}  // namespace

template <class T> void plainForward(const Forward<T>& a) { launch(forwardKernel<T>, gridOf(a.n.rows, a.n.heads), kThreads, bytesOf(a.n.depth + a.n.values), a); }
template <class T> void plainQueryGradient(const Backward<T>& a) {
  launch(queryKernel<T>, gridOf(a.f.n.rows, a.f.n.heads), kThreads, bytesOf(2 * a.f.n.depth + a.f.n.values), a);
}
template <class T> void plainKeyGradient(const Backward<T>& a) {
  launch(keyKernel<T>, gridOf(a.f.n.keys, a.f.n.groups), kThreads, bytesOf(2 * (a.f.n.depth + a.f.n.values)), a);
}

template void plainForward(const Forward<float>&);
template void plainForward(const Forward<bf16>&);
template void plainQueryGradient(const Backward<float>&);
template void plainQueryGradient(const Backward<bf16>&);
template void plainKeyGradient(const Backward<float>&);
template void plainKeyGradient(const Backward<bf16>&);

}  // namespace moe::cuda::attention
