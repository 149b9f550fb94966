// Matrix products: c = a b, c = bias + a b, c += a b, in any mix of f32 and bf16.
//
//   c[m][n] = start[m][n] + sum over k of a(m, k) b(k, n)       start: 0, bias[n], or what c held
//
// One operand is a `Left` (read row by row), the other a `Right` (read as panels of kTileCols columns). The three products
// of a linear layer y = x W^T, with dy the gradient of y:
//
//   forward  y  = x W^T     Left x            Right W, packed (packed_weight.h: k runs along W's rows)
//   dgrad    dx = dy W      Left dy           Right W, in place
//   wgrad    dW = dy^T x    Left dy, kFirst   Right x, in place, gathered by `rows` if wanted
//
// Promise: an element of c is one chain over k in increasing order that begins at `start`, whatever the sizes, blocks and
// threads, and is rounded to c's dtype once. So a row of a product has the same bits alone as in a batch, and a weight's f32
// gradient added up over two part batches has the same bits as that of the whole batch. The links of the chain are single
// steps of k (tile.h); where both operands are bf16, pairs of steps on a CPU with AVX-512 BF16 (pairs.h) and 32 steps on one
// with AMX (amx.h), the last one filled up with zeros: there, parts of a batch must be cut between links.
#pragma once
#include <span>

#include "tile.h"

namespace moe::MOE_ISA::gemm {

/// a(m, k): memory row m, column k; with kFirst memory row k, column m. `rows` (optional) says which memory row holds m.
struct Left {
  const void* data;
  DType dtype;
  int64_t stride;  ///< elements between memory rows
  bool kFirst = false;
  const int32_t* rows = nullptr;  ///< not with kFirst
};

/// How b lies in memory.
enum class Form {
  rows,    ///< b(k, n): memory row k (rows[k] if given), column n
  columns,  ///< b(k, n): memory row n, column k: packed in pieces for each block of rows, so for products of one
  panels,  ///< packed [n / kTileCols][k][kTileCols], zero-padded
  pairs,   ///< packed in pairs of k, for products that usesPairs() (pairs.h)
};

struct Right {
  const void* data;
  DType dtype;
  int64_t stride;  ///< elements between memory rows; unused when packed
  Form form = Form::rows;
  const int32_t* rows = nullptr;
};

struct Target {
  void* data;
  DType dtype;
  int64_t stride;
  bool add = false;            ///< the chain begins at what c holds
  const View* bias = nullptr;  ///< or at bias[n]
};

struct Product {
  Left a;
  Right b;
  Target c;
  int64_t m, n, k;
};

/// A rectangle of c: the unit of work of one task. `col` is a multiple of the width of every form of panel.
struct Block {
  int64_t row, rows, col, cols;
};

/// How c is cut into blocks: sizes of all but the last ones.
struct Cut {
  int64_t rows, cols;
  int64_t across(int64_t n) const { return divideUp(n, cols); }
  int64_t down(int64_t m) const { return divideUp(m, rows); }
  int64_t tasks(int64_t m, int64_t n) const { return down(m) * across(n); }
  Block block(int64_t task, int64_t m, int64_t n) const {
    const int64_t row = task / across(n) * rows, col = task % across(n) * cols;
    return {row, m - row < rows ? m - row : rows, col, n - col < cols ? n - col : cols};
  }
};

/// True when products of these dtypes take both operands in pairs of k. It depends on nothing else, so that a row has the
/// same bits in any batch.
bool usesPairs(DType a, DType b);

/// Rows of a product that are one block: with more, a right operand is better packed once, beforehand.
inline constexpr int64_t kBlockRows = 192;

/// Blocks that keep a's part in the second-level cache and give every thread several; `products` are run at once, with m
/// rows each on average. Those with a kFirst, which repack both operands for every block, get fewer and taller ones. The cut
/// depends on the number of threads; the results do not.
Cut cut(int64_t m, int64_t n, int64_t k, int64_t products = 1, bool kFirst = false);

/// Computes one block in the calling task; uses the worker's scratch slots 0 to 2. k = 0 leaves `start`.
void compute(const Product& product, const Block& block, int worker);

/// Computes whole products on all threads, as one list of blocks, in this order: the next product begins where the last one
/// leaves threads idle, and finds what both read in the caches.
void compute(std::span<const Product> products);
inline void compute(const Product& product) { compute(std::span(&product, 1)); }

}  // namespace moe::MOE_ISA::gemm
