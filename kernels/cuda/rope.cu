// rope         channel pair (a, b) of x turns by the angle of its position: a' = a cos - b sin, b' = b cos + a sin; inverse turns
//              back (the gradient). Pairs are (2i, 2i+1) when interleaved, else (i, i + D/2). A row of the table: D/2 cosines,
//              then D/2 sines.                                                          Su et al., arXiv:2104.09864
// cache_write  cache[slots[r]] = x[r]; a slot below 0 is skipped
//
// How it runs and what bounds it: memory. A thread turns one pack of channels (or two, of both halves) in some heads, so that four loads are in
// flight and the angles are read once for them; neighbouring threads take neighbouring packs. One thread a pack of a cache row.
#include "cuda.cuh"

namespace moe::cuda {

namespace {

constexpr int kThreads = 256;
/// Heads of a thread: as many as make four loads.
constexpr int headsOf(bool interleaved, int n) { return interleaved || n == 1 ? 4 : 2; }

/// n pairs of channels: 2n neighbours when interleaved, else n in each half of the head.
template <bool interleaved, int n, class T> struct Pairs {
  Floats<n> a, b;
  __device__ __forceinline__ void load(const T* x, int pair, int half) {
    if constexpr (interleaved && n > 1) {
      const Floats<2 * n> v = cuda::load<2 * n>(x + 2 * pair);
#pragma unroll
      for (int i = 0; i < n; i++) {
        a.at[i] = v.at[2 * i];
        b.at[i] = v.at[2 * i + 1];
      }
    } else {
      a = cuda::load<n>(x + (interleaved ? 2 * pair : pair));
      b = cuda::load<n>(x + (interleaved ? 2 * pair + 1 : pair + half));
    }
  }
  __device__ __forceinline__ void turn(const Floats<n>& cos, const Floats<n>& sin, float sign) {
#pragma unroll
    for (int i = 0; i < n; i++) {
      const float c = cos.at[i], s = sign * sin.at[i], first = a.at[i];
      a.at[i] = first * c - b.at[i] * s;
      b.at[i] = b.at[i] * c + first * s;
    }
  }
  __device__ __forceinline__ void store(T* x, int pair, int half) const {
    if constexpr (interleaved && n > 1) {
      Floats<2 * n> v;
#pragma unroll
      for (int i = 0; i < n; i++) {
        v.at[2 * i] = a.at[i];
        v.at[2 * i + 1] = b.at[i];
      }
      cuda::store<2 * n>(x + 2 * pair, v);
    } else {
      cuda::store<n>(x + (interleaved ? 2 * pair : pair), a);
      cuda::store<n>(x + (interleaved ? 2 * pair + 1 : pair + half), b);
    }
  }
};

template <class T> struct Turn {
  T* x;
  int64_t rowStride, headStride;
  unsigned units, perRow, packs;  ///< threads with work, those of a row, packs of a head
  int heads, half;
  const float* table;
  int positions;
  const int32_t* position;
  float sign;
  int32_t* fault;
};

/// A unit: heads h, h + perRow/packs, .. of one row, and one pack of each.
template <bool interleaved, int n, class T> __global__ void __launch_bounds__(kThreads) turnKernel(Turn<T> t) {
  constexpr int kHeads = headsOf(interleaved, n);
  const unsigned unit = blockIdx.x * kThreads + threadIdx.x;
  if (unit >= t.units) return;
  const unsigned row = unit / t.perRow, within = unit % t.perRow;
  const int step = static_cast<int>(t.perRow / t.packs), first = static_cast<int>(within / t.packs), pair = static_cast<int>(within % t.packs) * n;
  const int p = t.position[row];
  T* x = t.x + row * t.rowStride + first * t.headStride;
  Pairs<interleaved, n, T> v[kHeads];
#pragma unroll
  for (int i = 0; i < kHeads; i++)
    if (first + i * step < t.heads) v[i].load(x + i * step * t.headStride, pair, t.half);
  if (p < 0 || p >= t.positions) {
    *t.fault = static_cast<int32_t>(machine::Fault::position);
    return;
  }
  const float* angles = t.table + int64_t{p} * 2 * t.half + pair;
  const Floats<n> cos = load<n>(angles), sin = load<n>(angles + t.half);
#pragma unroll
  for (int i = 0; i < kHeads; i++) {
    if (first + i * step >= t.heads) continue;
    v[i].turn(cos, sin, t.sign);
    v[i].store(x + i * step * t.headStride, pair, t.half);
  }
}

template <class T> struct WriteCache {
  Rows<T> cache;
  Rows<const T> x;
  const int32_t* slots;
  int64_t cacheRows;
  int32_t* fault;
  template <int n> __device__ void run(int64_t row, int64_t col) const {
    const int64_t slot = slots[row];
    if (slot < 0) return;
    if (slot >= cacheRows) *fault = static_cast<int32_t>(machine::Fault::slot);
    else store<n>(cache.at(slot, col), load<n>(x.at(row, col)));
  }
};

}  // namespace

void rope(Mut x, In table, In positions, bool interleaved, bool inverse) {
  const int64_t rows = x.shape[0], heads = x.shape[1], half = x.shape[2] / 2;
  if (x.shape[2] % 2) throw Error("bad-argument", "rope: the number of channels must be even.");
  bool wide = half % (interleaved ? kVec / 2 : kVec) == 0 && x.stride[0] % kVec == 0 && x.stride[1] % kVec == 0;
  for (const void* data : {x.data, static_cast<void*>(table.data)}) wide &= reinterpret_cast<uintptr_t>(data) % 16 == 0;
  const int n = !wide ? 1 : interleaved ? kVec / 2 : kVec;
  const int64_t packs = half / n, perRow = divideUp(heads, int64_t{headsOf(interleaved, n)}) * packs;
  if (rows * perRow > 0xffffffff) throw Error("bad-argument", "rope: a tensor is too large for one launch; use a smaller batch.");
  dispatch(x.dtype, [&](auto t) {
    using T = decltype(t);
    const auto run = [&](auto kernel) {
      const Turn<T> all{x.as<T>(), x.stride[0], x.stride[1], static_cast<unsigned>(rows * perRow), static_cast<unsigned>(perRow), static_cast<unsigned>(packs), static_cast<int>(heads),
                        static_cast<int>(half), table.as<float>(), static_cast<int>(table.shape[0]), positions.as<int32_t>(), inverse ? -1.f : 1.f, machine::faultWord()};
      launch(kernel, blocks(divideUp(rows * perRow, int64_t{kThreads})), kThreads, 0, all);
    };
    if (interleaved) wide ? run(turnKernel<true, kVec / 2, T>) : run(turnKernel<true, 1, T>);
    else wide ? run(turnKernel<false, kVec, T>) : run(turnKernel<false, 1, T>);
  });
}

void cache_write(Mut cache, In x, In slots) {
  dispatch(x.dtype, [&](auto t) {
    using T = decltype(t);
    Plane p{x.shape[0], x.shape[1], x.shape[1] % kVec == 0};
    for (const View* v : {static_cast<const View*>(&cache), static_cast<const View*>(&x)})
      p.wide &= reinterpret_cast<uintptr_t>(v->data) % 16 == 0 && v->stride[0] % kVec == 0;
    forEach(p, WriteCache<T>{rowsOf<T>(cache), rowsOf<const T>(x), slots.as<int32_t>(), cache.shape[0], machine::faultWord()});
  });
}

}  // namespace moe::cuda
