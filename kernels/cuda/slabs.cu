// How it runs and what bounds it: memory. The warps of a block share kSlabRows or more rows of 256 columns and add their sums in
// order; then the warps of a block share the slabs of 32 columns in the same way.
#include "slabs.cuh"

namespace moe::cuda {

namespace {

constexpr int kWarps = 8, kThreads = kWarps * kLanes, kSlabRows = 64, kMostSlabs = 256;

/// The sums over a block's warps, in their order, for its first warp.
template <int n> __device__ __forceinline__ Floats<n> sumOfWarps(const Floats<n>& mine) {
  float* shared = sharedMemory<float>() + threadIdx.x % kLanes;
#pragma unroll
  for (int i = 0; i < n; i++) shared[(threadIdx.x / kLanes * n + i) * kLanes] = mine.at[i];
  __syncthreads();
  Floats<n> sum = mine;
  if (threadIdx.x < kLanes)
    for (int w = 1; w < kWarps; w++)
#pragma unroll
      for (int i = 0; i < n; i++) sum.at[i] += shared[(w * n + i) * kLanes];
  return sum;
}

__global__ void __launch_bounds__(kThreads) addKernel(float* to, float beta, const float* parts, int64_t slabs, int64_t cols, int64_t stride) {
  const int64_t col = blockIdx.x * int64_t{kLanes} + threadIdx.x % kLanes;
  Floats<1> sum = {};
  if (col < cols)
#pragma unroll 16
    for (int64_t s = threadIdx.x / kLanes; s < slabs; s += kWarps) sum.at[0] += parts[s * stride + col];
  sum = sumOfWarps<1>(sum);
  if (threadIdx.x < kLanes && col < cols) accumulate(to + col, sum.at[0], beta);
}

/// n columns a thread.
template <int n, class T> __global__ void __launch_bounds__(kThreads) slabKernel(float* parts, Rows<const T> x, int64_t rows, int64_t cols, int64_t each) {
  const int64_t col = (blockIdx.x * int64_t{kLanes} + threadIdx.x % kLanes) * n, end = least(rows, (blockIdx.y + 1) * each);
  Floats<n> sum = {};
  if (col < cols)
#pragma unroll 8
    for (int64_t row = blockIdx.y * each + threadIdx.x / kLanes; row < end; row += kWarps) {
      const Floats<n> v = load<n>(x.at(row, col));
#pragma unroll
      for (int i = 0; i < n; i++) sum.at[i] += v.at[i];
    }
  sum = sumOfWarps<n>(sum);
  if (threadIdx.x < kLanes && col < cols) store<n>(parts + blockIdx.y * cols + col, sum);
}

}  // namespace

void addSlabs(float* to, float beta, const float* parts, int64_t slabs, int64_t cols, int64_t stride) {
  launch(addKernel, blocks(divideUp(cols, int64_t{kLanes})), kThreads, kThreads * sizeof(float), to, beta, parts, slabs, cols, stride);
}

void columnSums(const Acc& to, const View& x) {
  const int64_t rows = x.shape[0], cols = x.shape[1];
  const int64_t each = most(int64_t{kSlabRows}, divideUp(rows, int64_t{kMostSlabs})), slabs = divideUp(rows, each);
  float* parts = machine::scratch<float>(0, most(slabs, int64_t{1}) * cols);
  const bool wide = cols % kVec == 0 && x.stride[0] % kVec == 0 && reinterpret_cast<uintptr_t>(x.data) % 16 == 0;
  dispatch(x.dtype, [&](auto t) {
    using T = decltype(t);
    const auto run = [&](auto kernel, int n) {
      launch(kernel, dim3(blocks(divideUp(cols, int64_t{kLanes} * n)), static_cast<unsigned>(slabs)), kThreads, kThreads * n * sizeof(float), parts, rowsOf<const T>(x), rows, cols, each);
    };
    if (wide) run(slabKernel<kVec, T>, kVec);
    else run(slabKernel<1, T>, 1);
  });
  addSlabs(to.as<float>(), to.beta, parts, slabs, cols, cols);
}

}  // namespace moe::cuda
