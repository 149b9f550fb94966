// forward   y[r] = scale * table[ids[r]]          backward   dtable[v] += scale * sum over r with ids[r] = v of dy[r]
//
// How it runs and what bounds it: memory. Backward sorts the ids (two stable counting sorts, by low and high digit); then one
// block to each run of equal ids adds its rows in the order of r, six on the way at once, so there are no atomics and one order
// of sums.
#include "sort.cuh"

namespace moe::cuda {

namespace {

constexpr int kThreads = 256, kAhead = 6;  // rows of a run that are loaded together

template <class A, class B> struct Gather {
  A* y;
  const B* table;
  const int32_t* ids;
  int64_t width, vocabulary;
  float scale;
  int32_t* fault;
  template <int n> __device__ void run(int64_t row, int64_t col) const {
    const int64_t id = ids[row];
    Floats<n> v = {};
    if (id < 0 || id >= vocabulary) *fault = static_cast<int32_t>(machine::Fault::id);
    else v = load<n>(table + id * width + col);
#pragma unroll
    for (int i = 0; i < n; i++) v.at[i] *= scale;
    store<n>(y + row * width + col, v);
  }
};

/// bucket[j] = digit of the id of item j; items are rows in `order`, or 0, 1, 2.. without it. Items without a place get -1.
__global__ void __launch_bounds__(kThreads) digits(int32_t* bucket, const int32_t* ids, const int32_t* order, int64_t count, int64_t vocabulary, int base, bool high, int32_t* fault) {
  const int64_t j = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (j >= count) return;
  const int64_t row = order ? order[j] : j;
  const int64_t id = row < 0 ? -1 : ids[row];
  const bool known = id >= 0 && id < vocabulary;
  if (row >= 0 && !known) *fault = static_cast<int32_t>(machine::Fault::id);
  bucket[j] = !known ? -1 : static_cast<int32_t>(high ? id / base : id % base);
}

/// to[position[j]] = from[j] (j itself without `from`).
__global__ void __launch_bounds__(kThreads) permute(int32_t* to, const int32_t* from, const int32_t* position, int64_t count) {
  const int64_t j = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (j < count && position[j] >= 0) to[position[j]] = from ? from[j] : static_cast<int32_t>(j);
}

/// Rows order[j], .. that have this id; -1 from the first other one on, and for what there is not.
__device__ __forceinline__ void rowsOfRun(int32_t (&rows)[kAhead], const int32_t* ids, const int32_t* order, int64_t j, int64_t count, int32_t id) {
#pragma unroll
  for (int a = 0; a < kAhead; a++) rows[a] = j + a < count ? order[j + a] : -1;
#pragma unroll
  for (int a = 0; a < kAhead; a++) rows[a] = rows[a] >= 0 && ids[rows[a]] == id ? rows[a] : -1;
}

template <int n, class T> __global__ void __launch_bounds__(kThreads, 8 / sizeof(T)) addRuns(float* table, const T* dy, const int32_t* ids, const int32_t* order, int64_t count, int64_t width, float scale) {
  const int64_t first = blockIdx.x;
  const int32_t row = order[first], before = first > 0 ? order[first - 1] : -1;
  if (row < 0) return;
  const int32_t id = ids[row];
  int32_t rows[kAhead];
  rowsOfRun(rows, ids, order, first, count, id);
  if (before >= 0 && ids[before] == id) return;  // not the begin of a run
  for (int64_t col = int64_t{threadIdx.x} * n; col < width; col += int64_t{kThreads} * n) {
    Floats<n> sum = load<n>(table + id * width + col);
    if (col >= int64_t{kThreads} * n) rowsOfRun(rows, ids, order, first, count, id);
    for (int64_t j = first + kAhead; rows[0] >= 0; j += kAhead) {
      Pack<T, n> v[kAhead];
#pragma unroll
      for (int a = 0; a < kAhead; a++)
        if (rows[a] >= 0) v[a] = *reinterpret_cast<const Pack<T, n>*>(dy + rows[a] * width + col);
#pragma unroll
      for (int a = 0; a < kAhead; a++)
        if (rows[a] >= 0)
#pragma unroll
          for (int i = 0; i < n; i++) sum.at[i] += scale * widen(v[a].at[i]);
      if (rows[kAhead - 1] < 0) break;
      rowsOfRun(rows, ids, order, j, count, id);
    }
    store<n>(table + id * width + col, sum);
  }
}

/// Rows in order of their ids; -1 from the number of known ids on. Uses scratch slots 1 to 4.
int32_t* sortedRows(const int32_t* ids, int64_t count, int64_t vocabulary) {
  int base = 1;
  while (int64_t{base} * base < vocabulary) base *= 2;
  const unsigned grid = blocks(divideUp(count, int64_t{kThreads}));
  auto* work = machine::scratch<int32_t>(2, 2 * count + base + 1);
  int32_t *bucket = work, *position = work + count, *offsets = work + 2 * count;
  int32_t* half = machine::scratch<int32_t>(3, count);
  int32_t* order = machine::scratch<int32_t>(4, count);
  const auto clear = [&](int32_t* to) {
    Out all;
    all.data = to;
    all.dtype = DType::i32;
    all.rank = 1;
    all.shape[0] = count;
    all.stride[0] = 1;
    fill(all, -1);
  };
  clear(half);
  clear(order);
  launch(digits, grid, kThreads, 0, bucket, ids, nullptr, count, vocabulary, base, false, machine::faultWord());
  countingSort(position, offsets, bucket, count, base, machine::Fault::id);
  launch(permute, grid, kThreads, 0, half, nullptr, position, count);
  launch(digits, grid, kThreads, 0, bucket, ids, half, count, vocabulary, base, true, machine::faultWord());
  countingSort(position, offsets, bucket, count, base, machine::Fault::id);
  launch(permute, grid, kThreads, 0, order, half, position, count);
  return order;
}

}  // namespace

void embedding_forward(Out y, In table, In ids, float scale) {
  dispatch(y.dtype, [&](auto ta) {
    dispatch(table.dtype, [&](auto tb) {
      using A = decltype(ta);
      using B = decltype(tb);
      Plane p{y.shape[0], y.shape[1], y.shape[1] % kVec == 0};
      for (const void* data : {y.data, table.data}) p.wide &= reinterpret_cast<uintptr_t>(data) % 16 == 0;
      forEach(p, Gather<A, B>{y.as<A>(), table.as<B>(), ids.as<int32_t>(), y.shape[1], table.shape[0], scale, machine::faultWord()});
    });
  });
}

void embedding_backward(Acc dtable, In dy, In ids, float scale) {
  if (!dtable) return;
  if (dtable.beta == 0) {
    Out all;
    static_cast<View&>(all) = dtable;
    fill(all, 0);
  }
  const int64_t count = ids.size(), width = dy.shape[1];
  if (count == 0) return;
  const int32_t* order = sortedRows(ids.as<int32_t>(), count, dtable.shape[0]);
  dispatch(dy.dtype, [&](auto t) {
    using T = decltype(t);
    const bool wide = width % kVec == 0 && reinterpret_cast<uintptr_t>(dtable.data) % 16 == 0 && reinterpret_cast<uintptr_t>(dy.data) % 16 == 0;
    const auto run = [&](auto kernel) { launch(kernel, blocks(count), kThreads, 0, dtable.as<float>(), dy.as<T>(), ids.as<int32_t>(), order, count, width, scale); };
    if (wide) run(addRuns<kVec, T>);
    else run(addRuns<1, T>);
  });
}

}  // namespace moe::cuda
