#include "gated.h"

#include "../swiglu.h"
#include "pairs.h"

namespace moe::MOE_ISA::gemm {

Cut cutGated(int64_t m, int64_t cols, int64_t k, int64_t products) {
  constexpr int64_t kPanel = kTileCols > kPairCols ? kTileCols : kPairCols;
  Cut cut = gemm::cut(m, cols, 2 * k, products);
  if (cols % kPanel != 0 && cut.cols < cols) cut.cols = cols;  // up begins inside a panel: only a block of all columns can have it
  return cut;
}

void compute(const Gated& g, const Block& block, int worker) {
  if (block.rows <= 0 || block.cols <= 0) return;
  const int64_t cols = g.cols();
  if (block.cols == cols) {
    compute(g.product, Block{block.row, block.rows, 0, 2 * cols}, worker);
  } else {
    compute(g.product, block, worker);
    compute(g.product, Block{block.row, block.rows, cols + block.col, block.cols}, worker);
  }
  dispatch(g.product.c.dtype, [&](auto t) {
    using T = decltype(t);
    const Target& c = g.product.c;
    for (int64_t row = block.row; row < block.row + block.rows; row++) {
      const T* gate = static_cast<const T*>(c.data) + row * c.stride + block.col;
      swiglu(static_cast<T*>(g.y) + row * cols + block.col, block.cols, gate, gate + cols);
    }
  });
}

void compute(const Gated& g) {
  const int64_t m = g.product.m, cols = g.cols();
  if (m <= 0 || cols <= 0) return;
  const Cut cut = cutGated(m, cols, g.product.k);
  parallel::loop(cut.tasks(m, cols), [&](int64_t task, int worker) { compute(g, cut.block(task, m, cols), worker); });
}

}  // namespace moe::MOE_ISA::gemm
