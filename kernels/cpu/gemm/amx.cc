// The blocked product of gemm.cc for two bf16 operands, on tiles.
//
// How it runs: both operands are brought into tile order, k in pairs (a's rows as they are, or two rows interleaved and
// transposed; b interleaved, or packed once per update). Two by two tiles of c take 256 steps of k at a time: b's part
// (16 KB) stays in the first-level cache, a's in the second. What bounds it: loading a's tiles from there; software
// prefetch only made it slower. An element of c is one chain over k in steps of 32, zero-padded, in increasing order: the
// same promise as that of tile.h.
#include "amx.h"

#if defined(__AVX512F__) || defined(MOE_AMX_TWIN)

#include "../../../native/host.h"
#include "amx_tiles.h"
#include "pairs.h"

namespace moe::MOE_ISA::amx {

namespace {

using gemm::across;
using gemm::along;
using gemm::Block;
using gemm::Dwords;
using gemm::Product;

constexpr int64_t kBlockTiles = 8;  // of k: 256 steps
constexpr int64_t kSum = kRows * kRows;
constexpr int kScratchA = 0, kScratchB = 1, kScratchSums = 2;

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/// The pairs of rows k0 .. k0+31 (row(k), null from `depth` on) for 16 columns.
template <class Row> void interleave(Dwords (&to)[16], int64_t k0, int64_t depth, int64_t col, int64_t valid, Row row) {
  for (int p = 0; p < 16; p++) {
    const int64_t k = k0 + 2 * p;
    to[p] = across(k < depth ? row(k) + col : nullptr, k + 1 < depth ? row(k + 1) + col : nullptr, valid);
  }
}

/// a's tiles of one block of k: [row tile][k tile].
void packLeft(bf16* to, const Product& p, const Block& block, int64_t firstTile, int64_t tiles) {
  const auto* data = static_cast<const bf16*>(p.a.data);
  for (int64_t i = 0; i < divideUp(block.rows, kRows); i++) {
    const int64_t rows = least(block.rows - i * kRows, kRows);
    for (int64_t t = 0; t < tiles; t++, to += kTile) {
      const int64_t k = (firstTile + t) * kDepth;
      Dwords tile[16] = {};
      if (p.a.kFirst) {
        interleave(tile, k, p.k, block.row + i * kRows, rows, [&](int64_t at) { return data + at * p.a.stride; });
        gemm::transpose(tile);
      } else {
        for (int r = 0; r < rows; r++) {
          const int64_t m = block.row + i * kRows + r;
          tile[r] = along(data + (p.a.rows ? p.a.rows[m] : m) * p.a.stride + k, p.k - k);
        }
      }
      memcpy(to, tile, sizeof tile);
    }
  }
}

/// b's tiles of 16 columns, in place: [k tile].
void packRight(bf16* to, const Product& p, int64_t col, int64_t valid, int64_t firstTile, int64_t tiles) {
  const auto* data = static_cast<const bf16*>(p.b.data);
  for (int64_t t = 0; t < tiles; t++, to += kTile) {
    Dwords tile[16];
    interleave(tile, (firstTile + t) * kDepth, p.k, col, valid, [&](int64_t k) { return data + (p.b.rows ? p.b.rows[k] : k) * p.b.stride; });
    memcpy(to, tile, sizeof tile);
  }
}

/// I x J tiles of c over `tiles` tiles of k; a and b step from tile to tile of rows and columns, sums[i + j*rowTiles].
template <int I, int J> void multiply(int64_t tiles, const bf16* a, int64_t aStep, const bf16* b, int64_t bStep, float* sums, int64_t sumStep) {
  constexpr int64_t kLine = 64;
  load<0>(sums, kLine);
  if (I > 1) load<1>(sums + kSum, kLine);
  if (J > 1) load<2>(sums + sumStep, kLine);
  if (I > 1 && J > 1) load<3>(sums + sumStep + kSum, kLine);
  for (int64_t t = 0; t < tiles; t++) {
    load<4>(a + t * kTile, kLine);
    load<6>(b + t * kTile, kLine);
    dot<0, 4, 6>();
    if (I > 1) load<5>(a + aStep + t * kTile, kLine);
    if (I > 1) dot<1, 5, 6>();
    if (J > 1) load<7>(b + bStep + t * kTile, kLine);
    if (J > 1) dot<2, 4, 7>();
    if (I > 1 && J > 1) dot<3, 5, 7>();
  }
  store<0>(sums, kLine);
  if (I > 1) store<1>(sums + kSum, kLine);
  if (J > 1) store<2>(sums + sumStep, kLine);
  if (I > 1 && J > 1) store<3>(sums + sumStep + kSum, kLine);
}

/// Where the chains of one tile of c begin.
void begin(float* sum, const Product& p, int64_t row, int64_t rows, int64_t col, int64_t cols) {
  memset(sum, 0, kSum * 4);
  if (p.c.bias)
    dispatch(p.c.bias->dtype, [&](auto t) {
      for (int64_t r = 0; r < rows; r++) gemm::widenRow(sum + r * kRows, static_cast<const decltype(t)*>(p.c.bias->data) + col, cols);
    });
  else if (p.c.add)
    dispatch(p.c.dtype, [&](auto t) {
      for (int64_t r = 0; r < rows; r++) gemm::widenRow(sum + r * kRows, static_cast<const decltype(t)*>(p.c.data) + (row + r) * p.c.stride + col, cols);
    });
}

void finish(const float* sum, const Product& p, int64_t row, int64_t rows, int64_t col, int64_t cols) {
  dispatch(p.c.dtype, [&](auto t) {
    for (int64_t r = 0; r < rows; r++) gemm::narrowRow(static_cast<decltype(t)*>(p.c.data) + (row + r) * p.c.stride + col, sum + r * kRows, cols);
  });
}

/// Calls body(sum, row, rows, column, columns) for every tile of c in the block.
template <class F> void eachTile(const Block& block, float* sums, F&& body) {
  for (int64_t j = 0; j * kRows < block.cols; j++)
    for (int64_t i = 0; i * kRows < block.rows; i++, sums += kSum)
      body(sums, block.row + i * kRows, least(block.rows - i * kRows, kRows), block.col + j * kRows, least(block.cols - j * kRows, kRows));
}

}  // namespace

bool serves(DType a, DType b) {
#ifdef MOE_AMX_TWIN
  return a == DType::bf16 && b == DType::bf16;
#else
  return a == DType::bf16 && b == DType::bf16 && host::amxUsable();
#endif
}

void compute(const Product& p, const Block& block, int worker) {
  const int64_t rowTiles = divideUp(block.rows, kRows), colTiles = divideUp(block.cols, kRows), depthTiles = divideUp(p.k, kDepth);
  auto* a = static_cast<bf16*>(parallel::scratch(worker, kScratchA, rowTiles * kBlockTiles * kTile * 2));
  auto* packed = static_cast<bf16*>(parallel::scratch(worker, kScratchB, 2 * kBlockTiles * kTile * 2));
  auto* sums = static_cast<float*>(parallel::scratch(worker, kScratchSums, rowTiles * colTiles * kSum * 4));
  eachTile(block, sums, [&](float* sum, int64_t row, int64_t rows, int64_t col, int64_t cols) { begin(sum, p, row, rows, col, cols); });
  configure();
  for (int64_t k = 0; k < depthTiles; k += kBlockTiles) {
    const int64_t tiles = least(depthTiles - k, kBlockTiles);
    packLeft(a, p, block, k, tiles);
    for (int64_t j = 0; j < colTiles; j += 2) {
      const bool twoCols = j + 1 < colTiles;
      const bf16* b = packed;
      int64_t bStep = tiles * kTile;
      if (p.b.form == gemm::Form::pairs) {
        bStep = depthTiles * kTile;
        b = static_cast<const bf16*>(p.b.data) + (block.col / kRows + j) * bStep + k * kTile;
      } else {
        for (int64_t half = 0; half < 1 + twoCols; half++)
          packRight(packed + half * bStep, p, block.col + (j + half) * kRows, least(block.cols - (j + half) * kRows, kRows), k, tiles);
      }
      for (int64_t i = 0; i < rowTiles; i += 2) {
        const bool twoRows = i + 1 < rowTiles;
        const auto run = twoRows ? (twoCols ? multiply<2, 2> : multiply<2, 1>) : twoCols ? multiply<1, 2> : multiply<1, 1>;
        run(tiles, a + i * tiles * kTile, tiles * kTile, b, bStep, sums + (j * rowTiles + i) * kSum, rowTiles * kSum);
      }
    }
  }
  release();
  eachTile(block, sums, [&](float* sum, int64_t row, int64_t rows, int64_t col, int64_t cols) { finish(sum, p, row, rows, col, cols); });
}

}  // namespace moe::MOE_ISA::amx

#endif
