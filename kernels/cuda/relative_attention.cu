// Attention whose scores also depend on how far a key is and whether it is of the row's kind. With j = s - ranges[r][0]:
//
//   score[r,h,s] = scale (<q[r,h], k[s,h]> + position[r,h, offsets[r]+j] + segment[r,h, types[r] != key_types[s]])
//   p = softmax of it over the keys of r's range with hidden[r,j] = 0      o[r,h] = sum_s p v[s,h]      lse = ln sum e^score
//   backward, with delta = <do, o>:  ds = scale p (<do, v[s]> - delta)     dq = sum_s ds k[s]    dk[s] = sum_r ds q    dv[s] = sum_r p do
//                                    dposition[r,h, offsets[r]+j] = ds     dsegment[r,h,t] = sum of ds over the keys of that kind
//
// How it runs: as attention_plain.cu. Forward and the gradients of a row: a warp takes one row of one head and 32 keys at a time, each
// lane a key's score; then lanes take channels. dk and dv: a warp takes one key of one head and walks the rows that see it, in order. A
// place of `position` belongs to one key of its row at most, so that its gradient is written and nothing is added by atomics.
// What bounds it: reading keys, one lane a key; there are no tensor cores here.
#include "attention.cuh"

namespace moe::cuda {

namespace {

using attention::Heads;
using attention::headsOf;
using attention::Range;

constexpr int kWarps = 4, kThreads = kWarps * kLanes;

struct Sizes {
  int64_t rows, keys;
  int heads, depth, width;   ///< H, D, C
  int64_t places, columns;   ///< P, M
  float scale;
};

/// What forward and backward read; segment, hidden and the types may be absent.
template <class T> struct Inputs {
  Heads<const T> q, k, v;
  const float *position, *segment;
  const Range* ranges;
  const int* offsets;
  const uint8_t* hidden;
  const int *types, *keyTypes;
  Sizes n;

  __device__ int64_t at(int64_t row, int head) const { return row * n.heads + head; }
  __device__ bool sees(int64_t row, int64_t j) const { return !hidden || !hidden[row * n.columns + j]; }
  __device__ int otherType(int64_t row, int64_t s) const { return types[row] != keyTypes[s]; }
  /// What is added to q . k, before the scale.
  __device__ float added(int64_t row, int head, int64_t j, int64_t s) const {
    const float ofPosition = position[at(row, head) * n.places + offsets[row] + j];
    return segment ? ofPosition + segment[at(row, head) * 2 + otherType(row, s)] : ofPosition;
  }
};

template <class T> __device__ void bring(float* to, const T* from, int count, int lane) {
  for (int c = lane; c < count; c += kLanes) to[c] = widen(from[c]);
}

/// <a, b> by one lane; a lies in shared memory.
template <class T> __device__ float dot(const float* a, const T* b, int count) {
  float sum = 0;
  for (int c = 0; c < count; c++) sum = fmaf(a[c], widen(b[c]), sum);
  return sum;
}

/// The score of the row's j-th key by one lane, -infinity where the row does not see it.
template <class T> __device__ float scoreOf(const Inputs<T>& in, const float* q, int64_t row, int head, int64_t j) {
  const Range range = in.ranges[row];
  const int64_t s = range.begin + j;
  if (s >= range.end || !in.sees(row, j)) return -INFINITY;
  return in.n.scale * (dot(q, in.k.at(s, head), in.n.depth) + in.added(row, head, j, s));
}

/// sums[c] = fade * sums[c] + sum over the warp's keys of weight times x[key][c]; key `lane` has this lane's weight.
template <class T> __device__ void addKeys(float* sums, float fade, float weight, const Heads<const T>& x, int64_t first, int head, int count, int channels, int lane) {
  for (int c = lane; c < divideUp(channels, kLanes) * kLanes; c += kLanes) {
    float sum = c < channels ? sums[c] * fade : 0.f;
    for (int j = 0; j < count; j++) {
      const float w = __shfl_sync(kAll, weight, j);
      if (c < channels) sum = fmaf(w, widen(x.at(first + j, head)[c]), sum);
    }
    if (c < channels) sums[c] = sum;
  }
}

template <class T> __global__ void __launch_bounds__(kThreads, 2) forwardKernel(Inputs<T> in, Heads<T> o, float* lse) {
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes, head = blockIdx.y;
  const int64_t row = blockIdx.x * int64_t{kWarps} + warp;
  if (row >= in.n.rows) return;
  float *q = sharedMemory<float>() + warp * (in.n.depth + in.n.width), *sums = q + in.n.depth;
  bring(q, in.q.at(row, head), in.n.depth, lane);
  for (int c = lane; c < in.n.width; c += kLanes) sums[c] = 0;
  __syncwarp();
  const Range range = in.ranges[row];
  float top = -INFINITY, sum = 0;
  for (int64_t first = 0; first < range.end - range.begin; first += kLanes) {
    const float score = scoreOf(in, q, row, head, first + lane), higher = fmaxf(top, warpMost(score));
    if (higher == -INFINITY) continue;  // all hidden so far
    const float fade = expf(top - higher), p = expf(score - higher);
    top = higher;
    sum = sum * fade + warpSum(p);
    const int count = static_cast<int>(least(int64_t{kLanes}, range.end - range.begin - first));
    addKeys(sums, fade, p, in.v, range.begin + first, head, count, in.n.width, lane);
  }
  for (int c = lane; c < in.n.width; c += kLanes) put(o.at(row, head) + c, sum > 0 ? sums[c] / sum : 0.f);
  if (lane == 0) lse[in.at(row, head)] = sum > 0 ? top + logf(sum) : -INFINITY;
}

/// What backward writes, and what it reads besides.
template <class T> struct Gradients {
  Heads<T> dq, dk, dv;
  float *dposition, *dsegment;
  Heads<const T> dout, o;
  const float* lse;
  float* delta;  ///< [R,H]
  float dqBeta, dkBeta, dvBeta, dpositionBeta, dsegmentBeta;
};

/// dq, dposition, dsegment; and delta, for the keys.
template <class T> __global__ void __launch_bounds__(kThreads) rowKernel(Inputs<T> in, Gradients<T> g) {
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes, head = blockIdx.y;
  const int64_t row = blockIdx.x * int64_t{kWarps} + warp;
  if (row >= in.n.rows) return;
  float* q = sharedMemory<float>() + warp * (2 * in.n.depth + in.n.width);
  float *dq = q + in.n.depth, *dout = dq + in.n.depth;
  bring(q, in.q.at(row, head), in.n.depth, lane);
  bring(dout, g.dout.at(row, head), in.n.width, lane);
  for (int c = lane; c < in.n.depth; c += kLanes) dq[c] = 0;
  __syncwarp();
  float delta = 0;
  for (int c = lane; c < in.n.width; c += kLanes) delta = fmaf(dout[c], widen(g.o.at(row, head)[c]), delta);
  delta = warpSum(delta);
  if (lane == 0) g.delta[in.at(row, head)] = delta;
  const float lse = g.lse[in.at(row, head)];
  const Range range = in.ranges[row];
  const int64_t keys = lse == -INFINITY ? 0 : range.end - range.begin;  // none is seen: there may be a range all the same
  float* dposition = g.dposition ? g.dposition + in.at(row, head) * in.n.places : nullptr;
  if (dposition && g.dpositionBeta == 0)
    for (int64_t p = lane; p < in.n.places; p += kLanes)
      if (p < in.offsets[row] || p >= in.offsets[row] + keys) dposition[p] = 0;
  float kinds[2] = {0, 0};  // ds of this lane's keys, by type
  for (int64_t first = 0; first < keys; first += kLanes) {
    const int64_t j = first + lane, s = range.begin + j;
    float ds = 0;
    if (j < keys) {
      const float p = expf(scoreOf(in, q, row, head, j) - lse);
      ds = p * (dot(dout, in.v.at(s, head), in.n.width) - delta) * in.n.scale;
      if (dposition) accumulate(dposition + in.offsets[row] + j, ds, g.dpositionBeta);
      if (g.dsegment) {
        const int other = in.otherType(row, s);
        kinds[0] += other ? 0.f : ds;
        kinds[1] += other ? ds : 0.f;
      }
    }
    const int count = static_cast<int>(least(int64_t{kLanes}, keys - first));
    addKeys(dq, 1.f, ds, in.k, range.begin + first, head, count, in.n.depth, lane);
  }
  if (g.dq.data)
    for (int c = lane; c < in.n.depth; c += kLanes) accumulate(g.dq.at(row, head) + c, dq[c], g.dqBeta);
  if (!g.dsegment) return;
  const float same = warpSum(kinds[0]), other = warpSum(kinds[1]);
  if (lane < 2) accumulate(g.dsegment + in.at(row, head) * 2 + lane, lane ? other : same, g.dsegmentBeta);
}

template <class T> __global__ void __launch_bounds__(kThreads) keyKernel(Inputs<T> in, Gradients<T> g) {
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes, head = blockIdx.y;
  const int64_t s = blockIdx.x * int64_t{kWarps} + warp;
  if (s >= in.n.keys) return;
  float* k = sharedMemory<float>() + warp * 2 * (in.n.depth + in.n.width);
  float *v = k + in.n.depth, *dk = v + in.n.width, *dv = dk + in.n.depth;
  bring(k, in.k.at(s, head), in.n.depth, lane);
  bring(v, in.v.at(s, head), in.n.width, lane);
  for (int c = lane; c < in.n.depth; c += kLanes) dk[c] = 0;
  for (int c = lane; c < in.n.width; c += kLanes) dv[c] = 0;
  __syncwarp();
  for (int64_t first = 0; first < in.n.rows; first += kLanes) {
    const Range range = first + lane < in.n.rows ? in.ranges[first + lane] : Range{0, 0};
    unsigned seen = __ballot_sync(kAll, range.begin <= s && s < range.end && in.sees(first + lane, s - range.begin));
    while (seen) {
      const int from = __ffs(seen) - 1;
      seen &= seen - 1;
      const int64_t row = first + from, j = s - __shfl_sync(kAll, range.begin, from);
      const T *q = in.q.at(row, head), *dout = g.dout.at(row, head);
      float score = 0, dp = 0;
      for (int c = lane; c < in.n.depth; c += kLanes) score = fmaf(widen(q[c]), k[c], score);
      for (int c = lane; c < in.n.width; c += kLanes) dp = fmaf(widen(dout[c]), v[c], dp);
      const float p = expf(in.n.scale * (warpSum(score) + in.added(row, head, j, s)) - g.lse[in.at(row, head)]);
      const float ds = p * (warpSum(dp) - g.delta[in.at(row, head)]) * in.n.scale;
      for (int c = lane; c < in.n.depth; c += kLanes) dk[c] = fmaf(ds, widen(q[c]), dk[c]);
      for (int c = lane; c < in.n.width; c += kLanes) dv[c] = fmaf(p, widen(dout[c]), dv[c]);
    }
  }
  if (g.dk.data)
    for (int c = lane; c < in.n.depth; c += kLanes) accumulate(g.dk.at(s, head) + c, dk[c], g.dkBeta);
  if (g.dv.data)
    for (int c = lane; c < in.n.width; c += kLanes) accumulate(g.dv.at(s, head) + c, dv[c], g.dvBeta);
}

size_t bytesOf(int floatsPerWarp) { return kWarps * sizeof(float) * static_cast<size_t>(floatsPerWarp); }
dim3 gridOf(int64_t items, int heads) { return {blocks(divideUp(items, int64_t{kWarps})), static_cast<unsigned>(heads)}; }

Sizes sizesOf(const In& q, const In& k, const In& v, const In& position, const MaybeIn& segment, const MaybeIn& hidden, const MaybeIn& types, const MaybeIn& keyTypes, float scale) {
  if (segment && !(types && keyTypes)) throw Error("bad-argument", "relative_attention: segment needs types and key_types.");
  return {q.shape[0], k.shape[0], static_cast<int>(q.shape[1]), static_cast<int>(q.shape[2]), static_cast<int>(v.shape[2]), position.shape[2], hidden ? hidden.shape[1] : 0, scale};
}

template <class T>
Inputs<T> inputsOf(const In& q, const In& k, const In& v, const In& position, const MaybeIn& segment, const In& ranges, const In& offsets, const MaybeIn& hidden,
                   const MaybeIn& types, const MaybeIn& keyTypes, const Sizes& n) {
  return {headsOf<const T>(q), headsOf<const T>(k), headsOf<const T>(v), position.as<float>(), segment.as<float>(), reinterpret_cast<const Range*>(ranges.data),
          offsets.as<int>(), hidden.as<uint8_t>(), types.as<int>(), keyTypes.as<int>(), n};
}

}  // namespace

void relative_attention_forward(Out o, Out lse, In q, In k, In v, In position, MaybeIn segment, In ranges, In offsets, MaybeIn hidden, MaybeIn types, MaybeIn key_types, float scale) {
  const Sizes n = sizesOf(q, k, v, position, segment, hidden, types, key_types, scale);
  dispatch(q.dtype, [&](auto t) {
    using T = decltype(t);
    const Inputs<T> in = inputsOf<T>(q, k, v, position, segment, ranges, offsets, hidden, types, key_types, n);
    launch(forwardKernel<T>, gridOf(n.rows, n.heads), kThreads, bytesOf(n.depth + n.width), in, headsOf<T>(o), lse.as<float>());
  });
}

void relative_attention_backward(Acc dq, Acc dk, Acc dv, Acc dposition, Acc dsegment, In dout, In q, In k, In v, In position, MaybeIn segment, In o, In lse, In ranges,
                                 In offsets, MaybeIn hidden, MaybeIn types, MaybeIn key_types, float scale) {
  const Sizes n = sizesOf(q, k, v, position, segment, hidden, types, key_types, scale);
  if (dsegment && !segment) throw Error("bad-argument", "relative_attention_backward: dsegment is given without segment.");
  dispatch(q.dtype, [&](auto t) {
    using T = decltype(t);
    const Inputs<T> in = inputsOf<T>(q, k, v, position, segment, ranges, offsets, hidden, types, key_types, n);
    Gradients<T> g{headsOf<T>(dq), headsOf<T>(dk), headsOf<T>(dv), dposition.as<float>(), dsegment.as<float>(), headsOf<const T>(dout), headsOf<const T>(o), lse.as<float>(),
                   machine::scratch<float>(0, most(n.rows * n.heads, int64_t{1})), dq.beta, dk.beta, dv.beta, dposition.beta, dsegment.beta};
    launch(rowKernel<T>, gridOf(n.rows, n.heads), kThreads, bytesOf(2 * n.depth + n.width), in, g);
    if (dk || dv) launch(keyKernel<T>, gridOf(n.keys, n.heads), kThreads, bytesOf(2 * (n.depth + n.width)), in, g);
  });
}

}  // namespace moe::cuda
