// How it runs and what bounds it: memory. A block sums kSlabRows or more rows of 256 columns; the slabs are then added in order,
// a chain of at most kMostSlabs additions a column.
#include "slabs.cuh"

namespace moe::cuda {

namespace {

constexpr int kThreads = 256, kSlabRows = 64, kMostSlabs = 256;

__global__ void __launch_bounds__(kThreads) addKernel(float* to, float beta, const float* parts, int64_t slabs, int64_t cols, int64_t stride) {
  const int64_t col = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (col >= cols) return;
  float sum = 0;
  for (int64_t s = 0; s < slabs; s++) sum += parts[s * stride + col];
  accumulate(to + col, sum, beta);
}

template <class T> __global__ void __launch_bounds__(kThreads) slabKernel(float* parts, Rows<const T> x, int64_t rows, int64_t cols, int64_t each) {
  const int64_t col = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (col >= cols) return;
  const int64_t end = least(rows, (blockIdx.y + 1) * each);
  float sum = 0;
  for (int64_t row = blockIdx.y * each; row < end; row++) sum += widen(*x.at(row, col));
  parts[blockIdx.y * cols + col] = sum;
}

}  // namespace

void addSlabs(float* to, float beta, const float* parts, int64_t slabs, int64_t cols, int64_t stride) {
  launch(addKernel, blocks(divideUp(cols, int64_t{kThreads})), kThreads, 0, to, beta, parts, slabs, cols, stride);
}

void columnSums(const Acc& to, const View& x) {
  const int64_t rows = x.shape[0], cols = x.shape[1];
  const int64_t each = most(int64_t{kSlabRows}, divideUp(rows, int64_t{kMostSlabs})), slabs = divideUp(rows, each);
  float* parts = machine::scratch<float>(0, most(slabs, int64_t{1}) * cols);
  dispatch(x.dtype, [&](auto t) {
    using T = decltype(t);
    launch(slabKernel<T>, dim3(blocks(divideUp(cols, int64_t{kThreads})), static_cast<unsigned>(slabs)), kThreads, 0, parts, rowsOf<const T>(x), rows, cols, each);
  });
  addSlabs(to.as<float>(), to.beta, parts, slabs, cols, cols);
}

}  // namespace moe::cuda
