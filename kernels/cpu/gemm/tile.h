// The micro-kernel: a tile of c that lives in registers while k runs.
//
//   c[i][j] = start[i][j] + sum over k of a[i][k] * b[k][j]        i < R, j < W * kTileCols
//
// Every element is one chain of multiply-adds over k in increasing order, which begins at `start`. A caller that cuts k
// into blocks passes the c of the block before as `start`; so an element's bits depend on its row of a and its column of
// b alone, not on how the product was cut, nor on which other rows were computed with it.
//
// An operand is floats, bf16 that are widened on the way (b only), or pairs of bf16 (pairs.h), where a step of k is a pair and
// a multiply-add is two.
//
// What bounds it: two multiply-adds a cycle. The full tile (6 x 16 with AVX2) does 12 for 2 loads of b and 6 broadcasts of
// a; b is a packed panel in the first-level cache, a comes row by row from the second. Thinner tiles take several panels,
// so that at least eight chains hide the latency of one; they serve single rows, where b streams from memory.
#pragma once
#include "../cpu.h"

namespace moe::MOE_ISA::gemm {

#if defined(__AVX512F__)
inline constexpr int kTileRows = 14;
#elif defined(__AVX2__)
inline constexpr int kTileRows = 6;
#else
inline constexpr int kTileRows = 4;
#endif
inline constexpr int kTileVecs = 2;
inline constexpr int kTileCols = kTileVecs * kLanes;  ///< also the width of a packed panel

/// Columns of a panel of b: those of the full tile, or of a tile of the matrix unit, with which packed pairs are shared.
template <class T> inline constexpr int kPanelCols = kTileCols;
template <> inline constexpr int kPanelCols<pair> = 16;

/// b as the tile reads it: element (k, j) of panel p lies at data[p*panel + k*step + j].
template <class T> struct Panels {
  const T* data;
  int64_t step;   ///< from k to k + 1: kPanelCols when packed, a row's stride when b is read in place
  int64_t panel;  ///< from one panel to the next

  /// The same panels from column j on, j and the tile's width being such that it begins or ends no panel in its middle.
  Panels from(int64_t j) const { return {data + j / kPanelCols<T> * panel + j % kPanelCols<T>, step, panel}; }
};

/// An address through which rows of floats or bf16 are reached; row 0 for all of them when the stride is 0.
template <class T> struct Rows {
  T* data;
  int64_t stride;
};

/// R rows of c and W times kTileCols columns, rounded to c's dtype at the end.
template <int R, int W, class A, class B, class C>
inline void tile(int64_t depth, const A* a, int64_t aRow, int64_t aStep, Panels<B> b, Rows<const float> start, Rows<C> c) {
  constexpr int V = W * kTileVecs;
  vec sum[R][V];
#pragma GCC unroll 16
  for (int i = 0; i < R; i++)
#pragma GCC unroll 16
    for (int v = 0; v < V; v++) sum[i][v] = load(start.data + i * start.stride + v * kLanes);
  const B* column = b.data;
  const A* row[(R + 2) / 3];  // every third row has a pointer; the two after it are reached by the stride
#pragma GCC unroll 16
  for (int i = 0; i < R; i += 3) row[i / 3] = a + i * aRow;
  for (int64_t k = 0; k < depth; k++) {
    decltype(load(column)) right[V];
#pragma GCC unroll 16
    for (int v = 0; v < V; v++) right[v] = load(column + v * kLanes / kPanelCols<B> * b.panel + v * kLanes % kPanelCols<B>);
    column += b.step;
#pragma GCC unroll 16
    for (int i = 0; i < R; i++) {
      const auto left = splat(row[i / 3][i % 3 * aRow]);
#pragma GCC unroll 16
      for (int v = 0; v < V; v++) sum[i][v] = fma(left, right[v], sum[i][v]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < R; i += 3) row[i / 3] += aStep;
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; i++)
#pragma GCC unroll 16
    for (int v = 0; v < V; v++) store(c.data + i * c.stride + v * kLanes, sum[i][v]);
}

}  // namespace moe::MOE_ISA::gemm
