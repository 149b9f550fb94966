// Decode on tensor cores: a block takes one row's 16 or 64 heads of a key head, or as many heads of rows that see the same keys,
// over `each` spans of keys.
//
// The keys pass through a ring of stages of 32 that asynchronous copies fill while others are used. Scores: two warps' worth of
// keys by four quarters of the channels, whose sums meet in shared memory; there a warp takes the softmax of two heads in 16.
// Values: the warps share the channels. A span's results begin at nothing; then they are joined with those of the spans to the
// left, of which this block has done `each` at most: those wait in `parts`, each thread reading back what it wrote itself.
#pragma once
#include "decode_block.cuh"

namespace moe::cuda::decoding {

/// Scores of all heads and this warp's 16 keys over its quarter of the channels.
template <int tiles> __device__ __forceinline__ void multiplyKeys(const Arena& s, const WideTile& k, int steps) {
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes, keys = warp % kKeyParts * 16, part = warp / kKeyParts;
  const int each = divideUp(steps, kDepthParts), end = least(steps, (part + 1) * each);
  const fragment::Place pa = fragment::addressA(lane, false), pb = fragment::addressB(lane, false);
  float c[tiles][2][4] = {};
#pragma unroll 3
  for (int step = part * each; step < end; step++) {
    uint32_t b[4];
    ptx::loadMatrices<false>(b, k.chunk(keys + pb.row, step * 2 + pb.col));
#pragma unroll
    for (int i = 0; i < tiles; i++) {
      uint32_t a[4];
      ptx::loadMatrices<false>(a, s.q.chunk(16 * i + pa.row, step * 2 + pa.col));
      ptx::mma(c[i][0], a, b[0], b[1]);
      ptx::mma(c[i][1], a, b[2], b[3]);
    }
  }
#pragma unroll
  for (int i = 0; i < tiles; i++)
#pragma unroll
    for (int j = 0; j < 2; j++)
#pragma unroll
      for (int e = 0; e < 4; e += 2) {
        const fragment::Place at = fragment::c(lane, e);
        store<2>(s.scores + ((part * tiles + i) * kHeadTile + at.row) * kScoreRow + keys + 8 * j + at.col, Floats<2>{{c[i][j][e], c[i][j][e + 1]}});
      }
}

/// Two keys' scores of one head in 16 of each half of the warp: `own` is that head's softmax so far, its sum over this lane's keys.
/// Leaves the probabilities in s.p and what earlier results count for in s.fade; at a span's end the softmax in s.top and s.sum.
template <int tiles> __device__ __forceinline__ void softmax(const Arena& s, Softmax (&own)[tiles], int first, float log2, bool last) {
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes, col = lane % 16 * 2;
#pragma unroll
  for (int i = 0; i < tiles; i++) {
    const int head = i * kHeadTile + warp * 2 + lane / 16, seen = s.endOf[head] - first - col;
    float x = 0, y = 0;
#pragma unroll
    for (int part = 0; part < kDepthParts; part++) {
      const Floats<2> c = load<2>(s.scores + (part * tiles * kHeadTile + head) * kScoreRow + col);
      x += c.at[0];
      y += c.at[1];
    }
    if (seen < 1) x = -INFINITY;
    if (seen < 2) y = -INFINITY;
    float top = fmaxf(x, y);
#pragma unroll
    for (int half = 8; half > 0; half /= 2) top = fmaxf(top, __shfl_xor_sync(kAll, top, half));
    top = fmaxf(own[i].top, top * log2);
    const float fade = ptx::exp2(own[i].top - top), a = ptx::exp2(fmaf(x, log2, -top)), b = ptx::exp2(fmaf(y, log2, -top));
    own[i] = {top, fmaf(own[i].sum, fade, a + b)};
    *reinterpret_cast<uint32_t*>(s.p.at(head, col)) = pack(a, b);
    if (lane % 16 == 0) s.fade[head] = fade;
    if (!last) continue;
    float sum = own[i].sum;
#pragma unroll
    for (int half = 8; half > 0; half /= 2) sum += __shfl_xor_sync(kAll, sum, half);
    if (lane % 16 == 0) {
      s.top[head] = top;
      s.sum[head] = sum;
    }
    own[i] = {-INFINITY, 0};
  }
}

/// o += p times this warp's columns of the values, from `col` on.
template <int tiles, int fragments> __device__ __forceinline__ void multiplyValues(float (&o)[tiles][fragments][4], const Tile& p, const WideTile& v, int col) {
  const fragment::Place at = fragment::addressB(threadIdx.x % kLanes, true);
#pragma unroll
  for (int k = 0; k < kKeyTile; k += 16) {
    uint32_t a[tiles][4];
#pragma unroll
    for (int i = 0; i < tiles; i++) loadA<false>(a[i], p, 16 * i, k);
#pragma unroll
    for (int j = 0; j < fragments; j += 2) {
      uint32_t b[4];
      ptx::loadMatrices<true>(b, v.chunk(k + at.row, col / kChunk + j + at.col));
#pragma unroll
      for (int i = 0; i < tiles; i++) {
        ptx::mma(o[i][j], a[i], b[0], b[1]);
        ptx::mma(o[i][j + 1], a[i], b[2], b[3]);
      }
    }
  }
}

/// This thread's results of one place: `fragments` pairs of columns, from its warp's first on.
template <int fragments> struct Results {
  float (&o)[fragments][4];
  int half, values;
  template <class F> __device__ __forceinline__ void each(F f) const {
    const int first = threadIdx.x / kLanes * fragments * 8 + fragment::c(threadIdx.x % kLanes, 0).col;
#pragma unroll
    for (int j = 0; j < fragments; j++)
      if (first + 8 * j < values) f(first + 8 * j, o[j][2 * half], o[j][2 * half + 1]);
  }
};

/// finishSpan for `count` of this thread's places, from the first on: what it reads back is on the way at once.
template <int tiles, int fragments, int count> __device__ __forceinline__ void finishPlaces(const Decode<bf16>& d, const Arena& s, const Job& job, float (&o)[tiles][fragments][4], int span, int first) {
  const int lane = threadIdx.x % kLanes, next = (span + 1) * kSpan;
  const auto partOf = [&](int place, int node) { return d.partAt(job.bundle + s.rowOf[place], s.headOf[place], node); };
  Softmax own[count];
#pragma unroll
  for (int i = 0; i < count; i++) own[i] = {s.top[8 * (first + i) + lane / 4], s.sum[8 * (first + i) + lane / 4]};
  int node = span;
  const bool last = d.lengths[job.bundle + s.rowOf[0]] <= next;  // no span of the row to the right
  for (int size = 1; size < d.each && (node & size || last); size *= 2) {
    if (!(node & size)) continue;
#pragma unroll
    for (int i = 0; i < count; i++) {
      const int64_t part = partOf(least(8 * (first + i) + lane / 4, job.count - 1), node - 1);  // surplus places read what is there: no branch
      const Floats<2> stat = load<2>(d.stats + 2 * part);
      Softmax both{stat.at[0], stat.at[1]};
      const Weights w = join(both, own[i]);
      own[i] = both;
      Results<fragments>{o[(first + i) / 2], (first + i) % 2, d.values}.each([&](int col, float& a, float& b) {
        const Floats<2> left = load<2>(d.parts + part * d.values + col);
        a = join(left.at[0], a, w);
        b = join(left.at[1], b, w);
      });
    }
    node -= size;
  }
#pragma unroll
  for (int i = 0; i < count; i++) {
    const int place = 8 * (first + i) + lane / 4;
    if (place >= job.count) continue;
    const Results<fragments> mine{o[(first + i) / 2], (first + i) % 2, d.values};
    const int64_t row = job.bundle + s.rowOf[place];
    if (node == 0 && d.lengths[row] <= next) {
      bf16* to = d.o + row * d.oRow + s.headOf[place] * d.oHead;
      mine.each([&](int col, float& a, float& b) { store<2>(to + col, Floats<2>{{a / own[i].sum, b / own[i].sum}}); });
    } else {
      const int64_t part = partOf(place, span);
      mine.each([&](int col, float& a, float& b) { store<2>(d.parts + part * d.values + col, Floats<2>{{a, b}}); });
      if (threadIdx.x < kLanes && lane % 4 == 0) store<2>(d.stats + 2 * part, Floats<2>{{own[i].top, own[i].sum}});
    }
  }
}

/// Ends a span: joins its results with those of this block's spans to the left, and keeps them at the place of the span, or writes
/// the row's when they are all.
template <int tiles, int fragments> __device__ __forceinline__ void finishSpan(const Decode<bf16>& d, const Arena& s, const Job& job, float (&o)[tiles][fragments][4], int span) {
#pragma unroll
  for (int first = 0; first < 2 * tiles; first += most(2, tiles)) finishPlaces<tiles, fragments, most(2, tiles)>(d, s, job, o, span, first);
}

/// Waits until at most `stages - 1` copies of a stage are in flight.
__device__ __forceinline__ void waitStage(int stages) {
  if (stages == 1) ptx::waitGroups<0>();
  else if (stages == 2) ptx::waitGroups<1>();
  else if (stages == 3) ptx::waitGroups<2>();
  else ptx::waitGroups<3>();
}

/// Earlier results count for less when the maximum rises.
template <int tiles, int fragments> __device__ __forceinline__ void fadeResults(float (&o)[tiles][fragments][4], const float* fade) {
#pragma unroll
  for (int i = 0; i < 2 * tiles; i++) {
    const float by = fade[8 * i + threadIdx.x % kLanes / 4];
#pragma unroll
    for (int j = 0; j < fragments; j++)
#pragma unroll
      for (int e = 0; e < 2; e++) o[i / 2][j][i % 2 * 2 + e] *= by;
  }
}

/// tiles: 16 heads each; fragments: 8-channel columns of the result that a warp owns.
template <int tiles, int fragments> __global__ void __launch_bounds__(kThreads, tiles == 1 ? 2 : 1) tensorKernel(Decode<bf16> d, Layout layout) {
  Job job = jobOf(d, tiles * kHeadTile);
  if (job.members == 0) return;
  const Arena s(layout);
  takePlaces(d, s, job, tiles * kHeadTile);
  Filler filler(d, s, job);
  fillQueries(d, s, job, tiles * kHeadTile);
  for (int stage = 0; stage < layout.stages; stage++) filler.fill(d, layout, s, job, stage, stage);

  const float log2 = d.scale * kLog2e;
  const int steps = divideUp(d.depth, 16), firstCol = threadIdx.x / kLanes * fragments * 8;
  float o[tiles][fragments][4] = {};
  Softmax own[tiles];
  for (Softmax& one : own) one = {-INFINITY, 0};
  int stage = 0;
  for (int tile = 0; tile < filler.tiles; tile++) {
    const int first = job.begin + tile * kKeyTile;
    const bool last = tile + 1 == filler.tiles || (first + kKeyTile) % kSpan == 0;
    waitStage(layout.stages);
    __syncthreads();
    multiplyKeys<tiles>(s, s.keys(layout, stage), steps);
    __syncthreads();
    softmax<tiles>(s, own, first, log2, last);
    __syncthreads();
    fadeResults(o, s.fade);
    if (firstCol < d.values) multiplyValues(o, s.p, s.values(layout, stage), firstCol);
    __syncthreads();
    filler.fill(d, layout, s, job, tile + layout.stages, stage);
    stage = stage + 1 < layout.stages ? stage + 1 : 0;
    if (last) finishSpan(d, s, job, o, first / kSpan);  // the next span's first fade is 0
  }
}

}  // namespace moe::cuda::decoding
