// Copies that bring operands into the form the micro-kernel reads: widened to f32, in panels, transposed.
#pragma once
#include "tile.h"

namespace moe::MOE_ISA::gemm {

/// to[0..n) = from[0..n), widened.
template <class T> inline void widenRow(float* to, const T* from, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, load(from + i));
  for (; i < n; i++) to[i] = widen(from[i]);
}

/// to[0..n) = from[0..n), rounded to nearest even.
template <class T> inline void narrowRow(T* to, const float* from, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, load(from + i));
  for (; i < n; i++) put(to + i, from[i]);
}

/// Transposes a square of 4-byte elements, one vector a row: each stage interleaves row i with row i + size/2.
template <class V, int size> inline void transpose(V (&row)[size]) {
  static_assert(sizeof(V) == size * 4);
  decltype(V{} < V{}) low, high;  // integer vectors of the same width
  for (int i = 0; i < size; i++) {
    low[i] = i / 2 + i % 2 * size;
    high[i] = low[i] + size / 2;
  }
#pragma GCC unroll 4
  for (int stage = 1; stage < size; stage *= 2) {
    V next[size];
#pragma GCC unroll 8
    for (int i = 0; i < size / 2; i++) {
      next[2 * i] = __builtin_shuffle(row[i], row[i + size / 2], low);
      next[2 * i + 1] = __builtin_shuffle(row[i], row[i + size / 2], high);
    }
#pragma GCC unroll 16
    for (int i = 0; i < size; i++) row[i] = next[i];
  }
}

/// One panel of a transposed matrix: to[k][j] = from[j*stride + k] for j < cols; the other columns are zero.
template <class T> inline void packTransposed(T* to, const T* from, int64_t stride, int64_t cols, int64_t depth) {
  int64_t k = 0;
  for (; k + kLanes <= depth; k += kLanes) {
    for (int part = 0; part < kTileVecs; part++) {
      vec row[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) {
        const int64_t j = part * kLanes + i;
        row[i] = j < cols ? load(from + j * stride + k) : vec{};
      }
      transpose(row);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) store(to + (k + i) * kTileCols + part * kLanes, row[i]);
    }
  }
  for (; k < depth; k++)
    for (int64_t j = 0; j < kTileCols; j++) to[k * kTileCols + j] = j < cols ? from[j * stride + k] : T{};
}

/// Panels of a matrix read row by row, widened: to[p][k][j] = row(k)[p*kTileCols + j], zero from `cols` on.
template <class T, class Row> inline void packRows(float* to, int64_t cols, int64_t depth, Row row) {
  const int64_t whole = cols / kTileCols, rest = cols % kTileCols;
  for (int64_t k = 0; k < depth; k++) {
    const T* from = row(k);
    float* step = to + k * kTileCols;
    for (int64_t p = 0; p < whole; p++)
#pragma GCC unroll 4
      for (int v = 0; v < kTileVecs; v++)
        store(step + p * depth * kTileCols + v * kLanes, load(from + p * kTileCols + v * kLanes));
    if (rest) {
      float* last = step + whole * depth * kTileCols;
      for (int64_t j = 0; j < kTileCols; j++) last[j] = j < rest ? widen(from[whole * kTileCols + j]) : 0.f;
    }
  }
}

}  // namespace moe::MOE_ISA::gemm
