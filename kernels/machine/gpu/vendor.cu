// cuBLASLt, opened when it is first asked for. Only the little of its interface that is used here is declared: handles are opaque
// pointers, attributes are numbers, and the numbers have not changed since CUDA 11.
//
// The library thinks in columns: row-major c [m, n] is its n x m matrix, so b comes first, and a matrix whose rows lie along k is
// one to be transposed when it comes first.
#include "../vendor.h"

#include <dlfcn.h>

#include <map>
#include <string>
#include <tuple>

#include "machine.cuh"

namespace moe::machine {

namespace {

using Handle = struct VendorHandle*;
using Operation = struct VendorOperation*;
using Layout = struct VendorLayout*;
using Preference = struct VendorPreference*;

struct Algorithm {
  uint64_t data[8];
};
struct Choice {
  Algorithm algorithm;
  size_t workspace;
  int status;
  float waves;
  int reserved[4];
};

constexpr int kCompute32 = 68;                                 // CUBLAS_COMPUTE_32F
constexpr int32_t kPlain = 0, kTransposed = 1;                 // CUBLAS_OP_N, CUBLAS_OP_T
constexpr int kTransposeFirst = 3, kTransposeSecond = 4;       // CUBLASLT_MATMUL_DESC_TRANSA, TRANSB
constexpr int kBatchCount = 5, kBatchStride = 6;               // CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, STRIDED_BATCH_OFFSET
constexpr int kMostWorkspace = 1, kLeastAlignment = 5;         // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, MIN_ALIGNMENT_A_BYTES (then B, C, D)
constexpr int kWorkspaceSlot = 15;
constexpr uint64_t kWorkspace = uint64_t{32} << 20;

struct Library {
  int (*create)(Handle*);
  int (*operationCreate)(Operation*, int compute, cudaDataType_t scale);
  int (*operationSet)(Operation, int attribute, const void*, size_t);
  int (*layoutCreate)(Layout*, cudaDataType_t, uint64_t rows, uint64_t cols, int64_t stride);
  int (*layoutSet)(Layout, int attribute, const void*, size_t);
  int (*preferenceCreate)(Preference*);
  int (*preferenceSet)(Preference, int attribute, const void*, size_t);
  int (*choose)(Handle, Operation, Layout, Layout, Layout, Layout, Preference, int wanted, Choice*, int* found);
  int (*multiply)(Handle, Operation, const void* alpha, const void* a, Layout, const void* b, Layout, const void* beta, const void* c, Layout, void* d, Layout,
                  const Algorithm*, void* workspace, size_t bytes, cudaStream_t);
  Handle handle;
};

void expect(int status, const char* what) {
  if (status) throw Error("internal", std::string("cuBLASLt reports ") + std::to_string(status) + " (" + what + "); TRAIN_MOE_GEMM=own does without it.");
}

template <class F> void find(void* library, const char* name, F*& function) {
  function = reinterpret_cast<F*>(dlsym(library, name));
  if (!function) throw Error("no-device", std::string("cuBLASLt lacks ") + name + "; TRAIN_MOE_GEMM=own does without it.");
}

const Library& library() {
  static const Library opened = [] {
    void* file = nullptr;
    for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"})
      if (!file) file = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!file) throw Error("no-device", "TRAIN_MOE_GEMM is cublaslt, but libcublasLt.so is not found; install it, set LD_LIBRARY_PATH, or use own.");
    Library l;
    find(file, "cublasLtCreate", l.create);
    find(file, "cublasLtMatmulDescCreate", l.operationCreate);
    find(file, "cublasLtMatmulDescSetAttribute", l.operationSet);
    find(file, "cublasLtMatrixLayoutCreate", l.layoutCreate);
    find(file, "cublasLtMatrixLayoutSetAttribute", l.layoutSet);
    find(file, "cublasLtMatmulPreferenceCreate", l.preferenceCreate);
    find(file, "cublasLtMatmulPreferenceSetAttribute", l.preferenceSet);
    find(file, "cublasLtMatmulAlgoGetHeuristic", l.choose);
    find(file, "cublasLtMatmul", l.multiply);
    expect(l.create(&l.handle), "create");
    return l;
  }();
  return opened;
}

/// What is made once for a kind of product and kept: as many as a model has shapes.
struct Plan {
  Operation operation;
  Layout first, second, target;
  Algorithm algorithm;
};

Layout layoutOf(const Library& l, cudaDataType_t type, int64_t rows, int64_t cols, int64_t stride, int64_t batch, int64_t batches) {
  Layout layout;
  expect(l.layoutCreate(&layout, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(cols), stride), "layout");
  const auto count = static_cast<int32_t>(batches);
  expect(l.layoutSet(layout, kBatchCount, &count, sizeof count), "batch count");
  expect(l.layoutSet(layout, kBatchStride, &batch, sizeof batch), "batch stride");
  return layout;
}

/// The largest power of two, up to 256, that an address is a multiple of.
uint32_t alignmentOf(const void* p) {
  const auto at = reinterpret_cast<uintptr_t>(p) | 256;
  return static_cast<uint32_t>(at & ~(at - 1));
}

Plan planFor(const Library& l, const VendorSide& a, const VendorSide& b, const VendorTarget& c, int64_t m, int64_t n, int64_t k, int64_t batches) {
  Plan p;
  expect(l.operationCreate(&p.operation, kCompute32, CUDA_R_32F), "operation");
  const int32_t first = b.kFirst ? kPlain : kTransposed, second = a.kFirst ? kTransposed : kPlain;
  expect(l.operationSet(p.operation, kTransposeFirst, &first, sizeof first), "first operand");
  expect(l.operationSet(p.operation, kTransposeSecond, &second, sizeof second), "second operand");
  p.first = layoutOf(l, CUDA_R_16BF, b.kFirst ? n : k, b.kFirst ? k : n, b.stride, b.batch, batches);
  p.second = layoutOf(l, CUDA_R_16BF, a.kFirst ? m : k, a.kFirst ? k : m, a.stride, a.batch, batches);
  p.target = layoutOf(l, c.narrow ? CUDA_R_16BF : CUDA_R_32F, n, m, c.stride, c.batch, batches);
  Preference preference;
  expect(l.preferenceCreate(&preference), "preference");
  expect(l.preferenceSet(preference, kMostWorkspace, &kWorkspace, sizeof kWorkspace), "workspace");
  const uint32_t alignments[] = {alignmentOf(b.data), alignmentOf(a.data), alignmentOf(c.data), alignmentOf(c.data)};
  for (int i = 0; i < 4; i++) expect(l.preferenceSet(preference, kLeastAlignment + i, &alignments[i], sizeof alignments[i]), "alignment");
  Choice choice;
  int found = 0;
  expect(l.choose(l.handle, p.operation, p.first, p.second, p.target, p.target, preference, 1, &choice, &found), "choice of an algorithm");
  if (!found) expect(choice.status ? choice.status : -1, "no algorithm");
  p.algorithm = choice.algorithm;
  return p;
}

}  // namespace

void vendorProduct(const VendorSide& a, const VendorSide& b, const VendorTarget& c, int64_t m, int64_t n, int64_t k, int64_t batches) {
  const Library& l = library();
  using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int, uint32_t, uint32_t, uint32_t>;
  static std::map<Key, Plan> plans;
  const Key key{m, n, k, batches, a.stride, b.stride, c.stride, a.batch, b.batch, c.batch, a.kFirst | b.kFirst << 1 | c.narrow << 2,
                alignmentOf(a.data), alignmentOf(b.data), alignmentOf(c.data)};
  auto known = plans.find(key);
  if (known == plans.end()) known = plans.emplace(key, planFor(l, a, b, c, m, n, k, batches)).first;
  const Plan& p = known->second;
  const float alpha = 1, beta = c.add ? 1.f : 0.f;
  expect(l.multiply(l.handle, p.operation, &alpha, b.data, p.first, a.data, p.second, &beta, c.data, p.target, c.data, p.target, &p.algorithm,
                    scratch(kWorkspaceSlot, size_t{kWorkspace}), size_t{kWorkspace}, stream()),
         "product");
}

}  // namespace moe::machine
