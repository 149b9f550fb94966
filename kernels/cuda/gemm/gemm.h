// Matrix products in any mix of f32 and bf16, in batches, and by groups of rows or of depth that are known on the device only.
//
//   c[m][n] = start[m][n] + sum over k of a(m, k) b(k, n)       start: 0, bias[n], or what c held
//
// The products of a linear layer y = x W^T, with dy the gradient of y:
//   forward  y  = x W^T     a = x              b = W
//   dgrad    dx = dy W      a = dy             b = W,  kFirst
//   wgrad    dW = dy^T x    a = dy, kFirst     b = x,  kFirst
//
// Promise: an element's sum runs over k in one order (steps of 16 on the tensor cores) whatever m and n are and however tiles
// are cut; so a row has the same bits alone as in a batch. A weight gradient of few tiles, whose k are the rows, is summed in pieces
// (pieces.cu) that its shape alone decides: the same in both kernels and on every GPU.
#pragma once
#include "../cuda.cuh"

namespace moe::cuda::gemm {

/// An operand. a(m, k): memory row m, column k; with kFirst memory row k, column m. The same for b(k, n) with n in m's place.
struct Side {
  const void* data;
  DType dtype;
  int64_t stride;                   ///< elements between memory rows
  bool kFirst = false;
  const int32_t* gather = nullptr;  ///< memory row r is row gather[r] of data
  int64_t batch = 0;                ///< elements between the matrices of a batch or group
};

struct Target {
  void* data;
  DType dtype;
  int64_t stride;
  bool add = false;
  const void* bias = nullptr;
  DType biasDtype = DType::f32;
  int64_t batch = 0;
};

/// How a batch index acts: plain batches, or experts by offsets[E+1] on the device.
///   rows    m is cut: rows [offsets[e], offsets[e+1]) use b's matrix e; rows beyond offsets[E] get 0 (or keep what they held)
///   depth   k is cut: c's matrix e sums over k in [offsets[e], offsets[e+1])
///   pieces  k is cut: c's matrix i sums over `piece` of it, from i * piece on
enum class Groups { none, rows, depth, pieces };

struct Product {
  Side a, b;
  Target c;
  int64_t m, n, k;
  int64_t batches = 1;
  Groups groups = Groups::none;
  const int32_t* offsets = nullptr;
  int64_t piece = 0;
};

/// On tensor cores when both operands are bf16, else on f32 units. TRAIN_MOE_GEMM chooses who computes those products of
/// bf16 that it can: `own` (the default: Hopper's kernel where the GPU has it, else the portable one), `portable`, `hopper`, or
/// `cublaslt`, the vendor's library. What the chosen one cannot do, the portable kernel does.
/// @throws Error("bad-argument") for another word, or without the library.
void compute(const Product& product);

/// The first product of a SwiGLU layer: c = [gate | up], n/2 columns each, and y = silu(gate) * up of what c then holds (the bits
/// of swiglu_forward), without reading c again. y has c's rows, side by side. False, and nothing done, where the product is not
/// the portable kernel's.
bool computeGated(const Product& product, void* y);

/// Calls multiply for the product whole or, where it is a weight gradient of few tiles (piecesOf), for all its pieces at once, and then
/// adds those to c. Uses scratch slot 5.
void inPieces(const Product& product, void (*multiply)(const Product&));
void computeTensor(const Product& product);
void computeTensorGated(const Product& product, bf16* y);
void computePlain(const Product& product);
/// Whether Hopper's kernel is what products run on unless told otherwise.
bool prefersHopper();
/// False when it does not fit the product or the GPU.
bool computeHopper(const Product& product);
bool computeVendor(const Product& product);

}  // namespace moe::cuda::gemm
