// Products over a few steps of k: the weight gradient of a few rows, c = a b with a column-wise and b row-wise.
//
// How it runs: both operands of a block are brought in as units, b's part into the first-level cache; then c is written row by
// row, each row in one go, which is what memory likes best. What bounds it: writing c.
#include "few.h"
#include "operands.h"

namespace moe::MOE_ISA::gemm {

namespace {

constexpr int kScratchA = 0, kScratchB = 1;
constexpr int64_t kMostUnits = 4;

/// Units [unit][column] of `cols` columns of rows row(k), `pitch` apart, which is whole vectors.
template <class Row> void bringUnits(float* to, int64_t pitch, int64_t cols, int64_t k, Row row) {
  for (int64_t i = 0; i < k; i++) widenRow(to + i * pitch, row(i), cols);
}
template <class Row> void bringUnits(pair* to, int64_t pitch, int64_t cols, int64_t k, Row row) {
  packPairsAcross(to, pitch, kPairCols, cols, 0, divideUp(k, 2), k, row);
}

/// One row of c: N units of a, aPitch apart, times those of b, pitch apart.
template <int N, class U, class C>
void writeRow(C* c, bool add, const U* a, int64_t aPitch, const U* b, int64_t pitch, int64_t cols) {
  U left[N];
  for (int u = 0; u < N; u++) left[u] = a[u * aPitch];
  int64_t j = 0;
  for (; j + kLanes <= cols; j += kLanes) {
    vec sum = add ? load(c + j) : vec{};
#pragma GCC unroll 4
    for (int u = 0; u < N; u++) sum = fma(splat(left[u]), load(b + u * pitch + j), sum);
    store(c + j, sum);
  }
  if (const int rest = static_cast<int>(cols - j)) {
    vec sum = add ? loadPart(c + j, rest) : vec{};
    for (int u = 0; u < N; u++) sum = fma(splat(left[u]), load(b + u * pitch + j), sum);
    float part[kLanes];
    store(part, sum);
    for (int i = 0; i < rest; i++) put(c + j + i, part[i]);
  }
}

template <int N, class U, class C>
void writeRows(const Product& p, const Block& block, const U* a, int64_t aPitch, const U* b, int64_t pitch) {
  for (int64_t i = 0; i < block.rows; i++)
    writeRow<N>(static_cast<C*>(p.c.data) + (block.row + i) * p.c.stride + block.col, p.c.add, a + i, aPitch, b, pitch, block.cols);
}

template <class U, class A, class B> void run(const Product& p, const Block& block, int worker) {
  const int64_t units = divideUp(p.k, kSteps<U>);
  const auto pitchOf = [](int64_t n) { return divideUp(n, 16) * 16; };
  const int64_t aPitch = pitchOf(block.rows), pitch = pitchOf(block.cols);
  auto* a = static_cast<U*>(parallel::scratch(worker, kScratchA, units * aPitch * 4));
  auto* b = static_cast<U*>(parallel::scratch(worker, kScratchB, units * pitch * 4));
  bringUnits(a, aPitch, block.rows, p.k, [&](int64_t k) { return static_cast<const A*>(p.a.data) + k * p.a.stride + block.row; });
  bringUnits(b, pitch, block.cols, p.k, [&](int64_t k) { return static_cast<const B*>(p.b.data) + (p.b.rows ? p.b.rows[k] : k) * p.b.stride + block.col; });
  dispatch(p.c.dtype, [&](auto t) {
    using C = decltype(t);
    constexpr void (*kRuns[])(const Product&, const Block&, const U*, int64_t, const U*, int64_t) = {writeRows<1, U, C>, writeRows<2, U, C>, writeRows<3, U, C>, writeRows<4, U, C>};
    static_assert(kMostUnits == 4);
    kRuns[units - 1](p, block, a, aPitch, b, pitch);
  });
}

}  // namespace

bool isShallow(const Product& p) {
  const int64_t units = usesPairs(p.a.dtype, p.b.dtype) ? divideUp(p.k, 2) : p.k;
  return p.a.kFirst && p.b.form == Form::rows && !p.c.bias && units >= 1 && units <= kMostUnits;
}

void computeShallow(const Product& p, const Block& block, int worker) {
  if (usesPairs(p.a.dtype, p.b.dtype)) return run<pair, bf16, bf16>(p, block, worker);
  dispatch(p.a.dtype, [&](auto t) { dispatch(p.b.dtype, [&](auto u) { run<float, decltype(t), decltype(u)>(p, block, worker); }); });
}

}  // namespace moe::MOE_ISA::gemm
