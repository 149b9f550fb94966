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

/// A vector of 8-byte integers as wide as one of `size` 4-byte elements.
template <int size> struct Doubled;
template <> struct Doubled<4> { typedef int64_t type __attribute__((vector_size(16))); };
template <> struct Doubled<8> { typedef int64_t type __attribute__((vector_size(32))); };
template <> struct Doubled<16> { typedef int64_t type __attribute__((vector_size(64))); };

/// Transposes a square of 4-byte elements, one vector a row: squares of 4 within the 16-byte lanes of a vector, then the lanes,
/// since instructions that stay within lanes, or move whole ones, are the quickest.
template <class V, int size> inline void transpose(V (&row)[size]) {
  static_assert(sizeof(V) == size * 4);
  constexpr int kLane = 4, kAcross = size / kLane;
  using Order = decltype(V{} < V{});
  using Wide = typename Doubled<size>::type;
  Order low, high, even, odd;
  Wide lowTwo, highTwo;
  for (int i = 0; i < size; i++) {
    low[i] = i / kLane * kLane + i % kLane / 2 + i % 2 * size;  // a0 b0 a1 b1 of a lane
    high[i] = low[i] + 2;                                       // a2 b2 a3 b3
    even[i] = i / kLane * 2 % kAcross * kLane + i % kLane + (i >= size / 2 ? size : 0);  // lanes 0, 2, .. of a, then those of b
    odd[i] = even[i] + kLane;
  }
  for (int i = 0; i < size / 2; i++) {
    lowTwo[i] = i / 2 * 2 + i % 2 * (size / 2);  // a0 a1 b0 b1
    highTwo[i] = lowTwo[i] + 1;                  // a2 a3 b2 b3
  }
  const auto two = [](V a, V b, Wide order) { return reinterpret_cast<V>(__builtin_shuffle(reinterpret_cast<Wide>(a), reinterpret_cast<Wide>(b), order)); };
  V lanes[kLane][kAcross];  // [c][g]: its lane l holds column kLane*l + c of rows kLane*g ..
#pragma GCC unroll 4
  for (int g = 0; g < kAcross; g++) {
    const V *r = row + kLane * g, a = __builtin_shuffle(r[0], r[1], low), b = __builtin_shuffle(r[0], r[1], high);
    const V c = __builtin_shuffle(r[2], r[3], low), d = __builtin_shuffle(r[2], r[3], high);
    lanes[0][g] = two(a, c, lowTwo);
    lanes[1][g] = two(a, c, highTwo);
    lanes[2][g] = two(b, d, lowTwo);
    lanes[3][g] = two(b, d, highTwo);
  }
#pragma GCC unroll 4
  for (int c = 0; c < kLane; c++) {
#pragma GCC unroll 2
    for (int stage = 1; stage < kAcross; stage *= 2) {
      V next[kAcross];
#pragma GCC unroll 2
      for (int i = 0; i < kAcross / 2; i++) {
        next[i] = __builtin_shuffle(lanes[c][2 * i], lanes[c][2 * i + 1], even);
        next[i + kAcross / 2] = __builtin_shuffle(lanes[c][2 * i], lanes[c][2 * i + 1], odd);
      }
#pragma GCC unroll 4
      for (int i = 0; i < kAcross; i++) lanes[c][i] = next[i];
    }
#pragma GCC unroll 4
    for (int g = 0; g < kAcross; g++) row[kLane * g + c] = lanes[c][g];
  }
}

/// Bytes along a row that are asked for before they are read, where many rows are read side by side.
inline constexpr int64_t kAheadBytes = 512;

/// One panel of a transposed matrix: to[k][j] = from[j*stride + k] for j < cols; the other columns are zero.
template <class U, class T> inline void packTransposed(U* to, const T* from, int64_t stride, int64_t cols, int64_t depth) {
  constexpr int64_t kAhead = kAheadBytes / static_cast<int64_t>(sizeof(T));
  int64_t k = 0;
  for (; k + kLanes <= depth; k += kLanes) {
    for (int part = 0; part < kTileVecs; part++) {
      vec row[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) {
        const int64_t j = part * kLanes + i;
        row[i] = vec{};
        if (j >= cols) continue;
        __builtin_prefetch(from + j * stride + k + kAhead);
        row[i] = load(from + j * stride + k);
      }
      transpose(row);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) store(to + (k + i) * kTileCols + part * kLanes, row[i]);
    }
  }
  for (; k < depth; k++)
    for (int64_t j = 0; j < kTileCols; j++) put(to + k * kTileCols + j, j < cols ? widen(from[j * stride + k]) : 0.f);
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
