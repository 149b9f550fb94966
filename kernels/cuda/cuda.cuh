// What every CUDA kernel file includes. The same files are compiled by nvcc for GPUs and by g++ for the emulator; the include
// path chooses the machine. Threads are named as in CUDA; a block has one dimension.
#pragma once
#include <machine.cuh>

#include "../../native/backend.h"

namespace moe::cuda {

#define OP(name, params, contract) void name params;
#include "../../native/ops.def"
#undef OP

inline constexpr unsigned kAll = 0xffffffffu;  ///< every lane of the warp
inline constexpr int kLanes = 32;
inline constexpr float kLog2e = 1.4426950408889634f;
inline constexpr float kLn2 = 0.6931471805599453f;

/// Calls f with a value of the dtype's C++ type: dispatch(x.dtype, [&](auto t) { using T = decltype(t); ... }).
template <class F> inline void dispatch(DType dtype, F&& f) {
  if (dtype == DType::f32) f(float{});
  else if (dtype == DType::bf16) f(bf16{});
  else throw Error("internal", "a kernel was asked for a dtype it has no code for");
}

template <class A, class B> __host__ __device__ constexpr A divideUp(A a, B b) { return (a + b - 1) / b; }
template <class A> __host__ __device__ constexpr A least(A a, A b) { return a < b ? a : b; }
template <class A> __host__ __device__ constexpr A most(A a, A b) { return a > b ? a : b; }

/// blocks as a launch wants them. @throws when there are more than a grid holds.
inline unsigned blocks(int64_t count) {
  if (count > 0x7fffffff) throw Error("bad-argument", "a tensor is too large for one launch; use a smaller batch.");
  return static_cast<unsigned>(count);
}

/// Rows of T that lie `stride` elements apart.
template <class T> struct Rows {
  T* data;
  int64_t stride;
  __device__ T* at(int64_t row, int64_t col = 0) const { return data + row * stride + col; }
  __host__ __device__ explicit operator bool() const { return data != nullptr; }
};
template <class T> Rows<T> rowsOf(const View& v) { return {static_cast<T*>(v.data), v.stride[0]}; }

// -- n elements at once -----------------------------------------------------------------------------------------------------

template <int n> using Floats = Pack<float, n>;

template <int n, class T> __device__ __forceinline__ Floats<n> load(const T* p) {
  const Pack<T, n> raw = *reinterpret_cast<const Pack<T, n>*>(p);
  Floats<n> x;
#pragma unroll
  for (int i = 0; i < n; i++) x.at[i] = widen(raw.at[i]);
  return x;
}
__device__ __forceinline__ void put(float* p, float x) { *p = x; }
__device__ __forceinline__ void put(bf16* p, float x) { *p = narrow(x); }

template <int n, class T> __device__ __forceinline__ void store(T* p, const Floats<n>& x) {
  Pack<T, n> raw;
#pragma unroll
  for (int i = 0; i < n; i++) put(&raw.at[i], x.at[i]);
  *reinterpret_cast<Pack<T, n>*>(p) = raw;
}
/// *p = beta * *p + x; with beta 0 the old content is not read.
template <int n, class T> __device__ __forceinline__ void accumulate(T* p, Floats<n> x, float beta) {
  if (beta != 0) {
    const Floats<n> old = load<n>(p);
#pragma unroll
    for (int i = 0; i < n; i++) x.at[i] += beta * old.at[i];
  }
  store<n>(p, x);
}
template <class T> __device__ __forceinline__ void accumulate(T* p, float x, float beta) { put(p, beta != 0 ? beta * widen(*p) + x : x); }

__device__ __forceinline__ float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }

inline constexpr int kVec = 8;  ///< elements of one wide access: 16 bytes of bf16

/// A [rows, cols] walk over several views at once: as one row when all are contiguous; `wide` when packs of kVec fit them all.
struct Plane {
  int64_t rows, cols;
  bool wide;
};
template <class... V> Plane plane(const V&... views) {
  const View* all[] = {&views...};
  Plane p{1, 1, true};
  for (int d = 0; d + 1 < all[0]->rank; d++) p.rows *= all[0]->shape[d];
  p.cols = all[0]->rank ? all[0]->shape[all[0]->rank - 1] : 1;
  bool contiguous = true;
  for (const View* v : all) contiguous &= !v->data || v->contiguous();
  if (contiguous) {
    p.cols *= p.rows;
    p.rows = 1;
  }
  for (const View* v : all)
    p.wide &= !v->data || (reinterpret_cast<uintptr_t>(v->data) % 16 == 0 && (p.rows == 1 || v->stride[0] % kVec == 0));
  p.wide &= p.cols % kVec == 0;
  return p;
}

/// packs: those of a row, or 0 for one long row. Rows are counted in 32 bits, since a 64-bit division costs more than the memory.
template <int n, class F> __global__ void __launch_bounds__(256) elementwiseKernel(int64_t firstRow, int64_t count, uint32_t packs, F f) {
  const int64_t i = blockIdx.x * int64_t{256} + threadIdx.x;
  if (i >= count) return;
  if (packs == 0) return f.template run<n>(0, i * n);
  const uint32_t at = static_cast<uint32_t>(i), row = at / packs;
  f.template run<n>(firstRow + row, int64_t{at - row * packs} * n);
}

template <int n, class F> void forEachPack(int64_t rows, int64_t packs, const F& f) {
  const auto run = [&](int64_t firstRow, int64_t count, int64_t perRow) {
    launch(elementwiseKernel<n, F>, blocks(divideUp(count, int64_t{256})), 256, 0, firstRow, count, static_cast<uint32_t>(perRow), f);
  };
  if (rows == 1 || packs == 0) return run(0, packs, 0);
  const int64_t atOnce = 0xffffffff / packs;
  if (atOnce == 0) throw Error("bad-argument", "a tensor's rows are too long for one launch; use a smaller batch.");
  for (int64_t row = 0; row < rows; row += atOnce) run(row, least(atOnce, rows - row) * packs, packs);
}

/// f.run<n>(row, col) for every pack of n elements of the plane; f is a struct of pointers and numbers.
template <class F> void forEach(const Plane& p, const F& f) {
  if (p.wide) forEachPack<kVec>(p.rows, p.cols / kVec, f);
  else forEachPack<1>(p.rows, p.cols, f);
}

// -- sums over a warp and a block, in one fixed order ---------------------------------------------------------------------------

template <class T> __device__ __forceinline__ T warpSum(T x) {
#pragma unroll
  for (int half = kLanes / 2; half > 0; half /= 2) x += __shfl_xor_sync(kAll, x, half);
  return x;
}
__device__ __forceinline__ float warpMost(float x) {
#pragma unroll
  for (int half = kLanes / 2; half > 0; half /= 2) x = fmaxf(x, __shfl_xor_sync(kAll, x, half));
  return x;
}

/// The block's sum, for every thread. `shared` holds one T a warp and is free again when all have returned from a later barrier.
template <class T> __device__ T blockSum(T x, T* shared) {
  const int warps = blockDim.x / kLanes;
  x = warpSum(x);
  __syncthreads();
  if (threadIdx.x % kLanes == 0) shared[threadIdx.x / kLanes] = x;
  __syncthreads();
  T sum = shared[0];
  for (int w = 1; w < warps; w++) sum += shared[w];
  return sum;
}
__device__ inline float blockMost(float x, float* shared) {
  const int warps = blockDim.x / kLanes;
  x = warpMost(x);
  __syncthreads();
  if (threadIdx.x % kLanes == 0) shared[threadIdx.x / kLanes] = x;
  __syncthreads();
  float m = shared[0];
  for (int w = 1; w < warps; w++) m = fmaxf(m, shared[w]);
  return m;
}

}  // namespace moe::cuda
