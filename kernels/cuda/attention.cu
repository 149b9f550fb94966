// o[r,h] = sum over s of p(r,h,s) v[s,g],   p = softmax over begin <= s < end of scale q[r,h] . k[s,g],   g = h / (H/G)
// k[s,g] is followed by k_shared[s] where given. lse: natural log of the sum of exp(scores). An empty range gives o = 0, lse = -inf.
// backward, with delta[r,h] = dout . o:  dv += p dout;  ds = p (dout . v - delta) scale;  dq += ds k;  dk += ds q
//
// How it runs: bf16 on tensor cores (on Hopper attention_hopper_forward.cu, _keys.cu and _queries.cu, else attention_forward.cu and
// attention_backward.cu), other sizes and f32 without (attention_plain.cu). Gradients of queries and keys come from two kernels
// that both compute the scores, so that nothing is added by atomics and a gradient has the same bits in every run; dk_shared's
// parts of the groups are added in order.
#include <cstdlib>
#include <cstring>

#include "attention.cuh"

namespace moe::cuda {

using attention::Backward;
using attention::Forward;
using attention::headsOf;
using attention::kRowTile;
using attention::Range;
using attention::RowTile;
using attention::Sizes;

namespace {

constexpr int kThreads = 256;

/// Tiles of rows, n channels at a time; `lanes` lanes share a row of a head.
template <int n, int lanes, class T>
__global__ void __launch_bounds__(kThreads) tilesKernel(RowTile* tiles, attention::Heads<const T> dout, attention::Heads<const T> o, const float* lse, const Range* ranges, Sizes size) {
  const int64_t i = blockIdx.x * int64_t{kThreads / lanes} + threadIdx.x / lanes, count = divideUp(size.rows, int64_t{kRowTile});
  const int64_t row = i / size.heads, head = i % size.heads;
  const bool inside = row < size.rows;
  float sum = 0;
  for (int c = threadIdx.x % lanes * n; inside && c < size.values; c += lanes * n) {
    const Floats<n> a = load<n>(dout.at(row, head) + c), b = load<n>(o.at(row, head) + c);
#pragma unroll
    for (int e = 0; e < n; e++) sum += a.at[e] * b.at[e];
  }
#pragma unroll
  for (int half = lanes / 2; half > 0; half /= 2) sum += __shfl_xor_sync(kAll, sum, half);
  if (row >= count * kRowTile || threadIdx.x % lanes) return;
  RowTile& tile = tiles[head * count + row / kRowTile];
  tile.lse[row % kRowTile] = inside ? lse[i] * kLog2e : 0.f;
  tile.delta[row % kRowTile] = sum;
  tile.range[row % kRowTile] = inside ? ranges[row] : Range{0, 0};
}

template <class T> void launchTiles(RowTile* tiles, const Backward<T>& a, const attention::Heads<const T>& o) {
  const Sizes& n = a.f.n;
  const auto run = [&](auto kernel, int64_t lanes) {
    launch(kernel, blocks(divideUp(divideUp(n.rows, int64_t{kRowTile}) * kRowTile * n.heads * lanes, int64_t{kThreads})), kThreads, 0, tiles, a.dout, o, a.f.lse, a.f.ranges, n);
  };
  if (n.values % kVec || !attention::alignedHeads(a.dout) || !attention::alignedHeads(o)) run(tilesKernel<1, kLanes, T>, kLanes);
  else if (n.values <= 8 * kVec) run(tilesKernel<kVec, 8, T>, 8);
  else run(tilesKernel<kVec, 16, T>, 16);
}

/// to[s] = beta*to[s] + sum over groups of parts[g][s].
template <class T> struct AddShared {
  Rows<T> to;
  const float* parts;
  int64_t keys, channels;
  int groups;
  float beta;
  template <int n> __device__ void run(int64_t key, int64_t col) const {
    Floats<n> sum = {};
    for (int g = 0; g < groups; g++) {
      const Floats<n> v = load<n>(parts + (g * keys + key) * channels + col);
#pragma unroll
      for (int i = 0; i < n; i++) sum.at[i] += v.at[i];
    }
    accumulate<n>(to.at(key, col), sum, beta);
  }
};

Sizes sizesOf(const In& q, const In& k, const In& v, const MaybeIn& shared, float scale) {
  const Sizes n{q.shape[0], k.shape[0], static_cast<int>(q.shape[1]), static_cast<int>(k.shape[1]), static_cast<int>(q.shape[2]), static_cast<int>(k.shape[2]), static_cast<int>(v.shape[2]), scale};
  const int64_t depth = n.own + (shared ? shared.shape[1] : 0);
  if (depth != n.depth) throw Error("bad-argument", "attention: q has " + std::to_string(n.depth) + " channels, k and k_shared together " + std::to_string(depth) + ".");
  if (n.heads % n.groups) throw Error("bad-argument", "attention: " + std::to_string(n.heads) + " query heads do not share " + std::to_string(n.groups) + " key heads evenly.");
  return n;
}

template <class T, class O> Forward<O> forwardOf(const View& o, const View& lse, const In& q, const In& k, const In& v, const MaybeIn& shared, const In& ranges, const Sizes& n) {
  return {headsOf<O>(o), static_cast<float*>(lse.data), headsOf<const T>(q), headsOf<const T>(k), headsOf<const T>(v), {static_cast<const T*>(shared.data), shared.stride[0]},
          reinterpret_cast<const Range*>(ranges.data), n};
}

/// Whether bf16 goes to Hopper's kernels where they fit: TRAIN_MOE_ATTENTION says it; unset, on a GPU. Asked each time, so that one
/// process can compare them.
bool hopperAsked() {
  const char* who = getenv("TRAIN_MOE_ATTENTION");
  if (!who || !*who) return !strcmp(machine::kName, "cuda");
  const bool hopper = !strcmp(who, "hopper");
  if (!hopper && strcmp(who, "portable")) throw Error("bad-argument", std::string("TRAIN_MOE_ATTENTION is ") + who + "; hopper or portable is expected.");
  return hopper;
}

template <class T> void queryGradient(const Backward<T>& a) {
  if constexpr (sizeof(T) == sizeof(bf16))
    if ((hopperAsked() && attention::hopperQueryGradient(a)) || attention::tensorQueryGradient(a)) return;
  attention::plainQueryGradient(a);
}
template <class T> void keyGradient(const Backward<T>& a) {
  if constexpr (sizeof(T) == sizeof(bf16))
    if ((hopperAsked() && attention::hopperKeyGradient(a)) || attention::tensorKeyGradient(a)) return;
  attention::plainKeyGradient(a);
}

}  // namespace

void attention_forward(Out o, Out lse, In q, In k, In v, MaybeIn k_shared, In ranges, float scale) {
  const Sizes n = sizesOf(q, k, v, k_shared, scale);
  dispatch(q.dtype, [&](auto t) {
    using T = decltype(t);
    const Forward<T> a = forwardOf<T, T>(o, lse, q, k, v, k_shared, ranges, n);
    if constexpr (sizeof(T) == sizeof(bf16))
      if ((hopperAsked() && attention::hopperForward(a)) || attention::tensorForward(a)) return;
    attention::plainForward(a);
  });
}

void attention_backward(Acc dq, Acc dk, Acc dv, Acc dk_shared, In dout, In q, In k, In v, MaybeIn k_shared, In o, In lse, In ranges, float scale) {
  const Sizes n = sizesOf(q, k, v, k_shared, scale);
  dispatch(q.dtype, [&](auto t) {
    using T = decltype(t);
    const int64_t shared = k_shared ? k_shared.shape[1] : 0;
    RowTile* tiles = machine::scratch<RowTile>(0, most(divideUp(n.rows, int64_t{kRowTile}) * n.heads, int64_t{1}));
    float* parts = dk_shared && shared > 0 ? machine::scratch<float>(1, most(n.groups * n.keys * shared, int64_t{1})) : nullptr;
    Backward<T> a{};
    a.f = forwardOf<T, const T>(o, lse, q, k, v, k_shared, ranges, n);
    a.dout = headsOf<const T>(dout);
    a.tiles = tiles;
    a.dq = headsOf<T>(dq);
    a.dk = headsOf<T>(dk);
    a.dv = headsOf<T>(dv);
    a.sharedParts = parts;
    a.dqBeta = dq.beta;
    a.dkBeta = dk.beta;
    a.dvBeta = dv.beta;
    launchTiles<T>(tiles, a, headsOf<const T>(o));
    if (dq) queryGradient(a);
    if (dk || dv || parts) keyGradient(a);
    if (!parts) return;
    Plane p{n.keys, shared, shared % kVec == 0 && dk_shared.stride[0] % kVec == 0 && reinterpret_cast<uintptr_t>(dk_shared.data) % 16 == 0};
    forEach(p, AddShared<T>{rowsOf<T>(dk_shared), parts, n.keys, shared, n.groups, dk_shared.beta});
  });
}

}  // namespace moe::cuda
