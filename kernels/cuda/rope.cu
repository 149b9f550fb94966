// rope         channel pair (a, b) of x turns by the angle of its position: a' = a cos - b sin, b' = b cos + a sin; inverse turns
//              back (the gradient). Pairs are (2i, 2i+1) when interleaved, else (i, i + D/2). A row of the table: D/2 cosines,
//              then D/2 sines.                                                          Su et al., arXiv:2104.09864
// cache_write  cache[slots[r]] = x[r]; a slot below 0 is skipped
//
// How it runs and what bounds it: memory; one thread a pair, one thread a pack of a cache row.
#include "cuda.cuh"

namespace moe::cuda {

namespace {

template <class T> __global__ void __launch_bounds__(256)
turn(T* x, int64_t rowStride, int64_t headStride, int64_t rows, int heads, int half, const float* table, int positions, const int32_t* position, bool interleaved, float sign, int32_t* fault) {
  const int64_t i = blockIdx.x * int64_t{256} + threadIdx.x, perRow = int64_t{heads} * half;
  if (i >= rows * perRow) return;
  const int64_t row = i / perRow;
  const int head = static_cast<int>(i % perRow / half), pair = static_cast<int>(i % half);
  const int p = position[row];
  if (p < 0 || p >= positions) {
    *fault = static_cast<int32_t>(machine::Fault::position);
    return;
  }
  const float c = table[int64_t{p} * 2 * half + pair], s = sign * table[int64_t{p} * 2 * half + half + pair];
  T* at = x + row * rowStride + head * headStride;
  T* first = at + (interleaved ? 2 * pair : pair);
  T* second = at + (interleaved ? 2 * pair + 1 : pair + half);
  const float a = widen(*first), b = widen(*second);
  put(first, a * c - b * s);
  put(second, b * c + a * s);
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
  dispatch(x.dtype, [&](auto t) {
    using T = decltype(t);
    launch(turn<T>, blocks(divideUp(rows * heads * half, int64_t{256})), 256, 0, x.as<T>(), x.stride[0], x.stride[1], rows, heads, half, table.as<float>(), table.shape[0],
           positions.as<int32_t>(), interleaved, inverse ? -1.f : 1.f, machine::faultWord());
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
