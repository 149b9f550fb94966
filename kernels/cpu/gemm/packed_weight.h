// Weights in the panels that products read, kept beside the buffer until it is next written.
#pragma once
#include <optional>

#include "gemm.h"

namespace moe::MOE_ISA::gemm {

/// A stack of right operands b(k, n). Their rows in memory run along k, [count][n][k], as in y = x w^T; or along n,
/// [count][k][n], as in dx = dy w.
struct Weight {
  const View* view;
  int64_t count, n, k;
  int64_t next;    ///< elements between matrices
  int64_t stride;  ///< elements between rows
  bool alongN = false;
};

/// All matrices of a weight, packed panel by panel in the weight's own dtype for products with a left operand of dtype
/// `left`. A buffer made as a weight keeps them, one repacking per update. Of other buffers rows along k get a temporary
/// copy, which ends with this object; rows along n are taken as they lie, which is also the better way for floats.
class PackedWeight {
 public:
  PackedWeight(const Weight& weight, DType left, int64_t rows = kBlockRows + 1);
  ~PackedWeight();
  PackedWeight(const PackedWeight&) = delete;
  PackedWeight& operator=(const PackedWeight&) = delete;

  /// Matrix i, as the right operand of a product.
  Right operator[](int64_t i) const;

 private:
  const Weight weight_;
  const Form form_;
  void* data_ = nullptr;
  size_t temporary_ = 0;  ///< bytes to give back; 0 when the buffer keeps them
};

/// The way back through a linear layer y = x W^T with W [outer, inner]: dx = dy W and dW = dy^T x for `rows` rows.
struct WayBack {
  Left dy;   ///< [rows, outer]
  Right x;   ///< [rows, inner], where it lies
  const View* weight;
  std::optional<Target> dx, dweight;  ///< those that are wanted
  int64_t rows;
};

/// Computes what is wanted as one list of blocks.
void compute(const WayBack& back);

/// Memory for the time of one op: bytes from the allocator that owns `near`.
class Workspace {
 public:
  Workspace(const View& near, size_t bytes);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  template <class T> T* as() const { return static_cast<T*>(data_); }

 private:
  Buffer* near_;
  size_t capacity_ = 0;  ///< before data_, whose making sets it
  void* data_;
};

}  // namespace moe::MOE_ISA::gemm
