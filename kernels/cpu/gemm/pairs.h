// Products of two bf16 operands take k in pairs: a dword holds the bf16 of steps 2p (lower half) and 2p + 1 of one row or
// column, and one instruction multiplies and adds both. So do the matrix unit (amx.h) and AVX-512 BF16 (fma() of pairs in
// vec.h). Here are the copies that bring operands into pairs.
//
// VDPBF16PS adds the odd step first, then the even one, both as f32 rounded to nearest even: products of two bf16 are exact
// in f32, so plain multiplies and adds give the same bits. Whatever MXCSR says, it takes and leaves denormals as zero.
#pragma once
#include "pack.h"

namespace moe::MOE_ISA::gemm {

/// Columns of a packed panel of pairs, [ceil(k / 32) * 16][kPairCols], zero-padded: what a tile of the matrix unit holds.
inline constexpr int64_t kPairCols = 16;
inline constexpr int64_t kPairSteps = 32;  ///< k is padded to multiples of this

inline int64_t pairPanelSize(int64_t k) { return divideUp(k, kPairSteps) * kPairSteps * kPairCols; }

typedef uint16_t Halves __attribute__((vector_size(32)));
typedef uint32_t Dwords __attribute__((vector_size(64)));

/// Two rows of bf16, k and k + 1, as pairs for 16 columns of which `valid` exist. A row that is not there is null.
inline Dwords across(const bf16* even, const bf16* odd, int64_t valid) {
  Halves low = {}, high = {};
  const size_t size = (valid < 16 ? valid : 16) * sizeof(bf16);
  if (valid >= 16) {
    if (even) memcpy(&low, even, sizeof low);
    if (odd) memcpy(&high, odd, sizeof high);
  } else {
    if (even) memcpy(&low, even, size);
    if (odd) memcpy(&high, odd, size);
  }
  return __builtin_convertvector(low, Dwords) | __builtin_convertvector(high, Dwords) << 16;
}

/// The same for 32 columns that all exist, of two rows that do: the pairs of the first 16, and of the others.
inline void interleave(pair* first, pair* second, const bf16* even, const bf16* odd) {
  typedef uint16_t Words __attribute__((vector_size(64)));
  Words low, high, firstOrder, secondOrder;
  memcpy(&low, even, sizeof low);
  memcpy(&high, odd, sizeof high);
  for (int i = 0; i < 32; i++) {
    firstOrder[i] = i / 2 + i % 2 * 32;
    secondOrder[i] = firstOrder[i] + 16;
  }
  const Words firstPairs = __builtin_shuffle(low, high, firstOrder), secondPairs = __builtin_shuffle(low, high, secondOrder);
  memcpy(first, &firstPairs, sizeof firstPairs);
  memcpy(second, &secondPairs, sizeof secondPairs);
}

/// 32 steps of k of one row, of which `valid` exist.
inline Dwords along(const bf16* row, int64_t valid) {
  Dwords pairs = {};
  if (valid >= kPairSteps) memcpy(&pairs, row, sizeof pairs);
  else if (valid > 0) memcpy(&pairs, row, valid * sizeof(bf16));
  return pairs;
}

/// Sixteen rows of kPairSteps steps, `stride` apart, transposed as pairs.
inline void packPairSquare(bf16* to, const bf16* from, int64_t stride) {
  Dwords tile[kPairCols];
#pragma GCC unroll 16
  for (int64_t j = 0; j < kPairCols; j++) {
    __builtin_prefetch(from + j * stride + kAheadBytes / static_cast<int64_t>(sizeof(bf16)));
    memcpy(&tile[j], from + j * stride, sizeof tile[j]);
  }
  transpose(tile);
#pragma GCC unroll 16
  for (int64_t j = 0; j < kPairCols; j++) memcpy(to + j * kPairSteps, &tile[j], sizeof tile[j]);
}

/// One packed panel of a transposed matrix: from[j*stride + k] for j < cols.
inline void packPairPanel(bf16* to, const bf16* from, int64_t stride, int64_t cols, int64_t depth) {
  int64_t k = 0;
  if (cols == kPairCols)
    for (; k + kPairSteps <= depth; k += kPairSteps, to += kPairSteps * kPairCols) packPairSquare(to, from + k, stride);
  for (; k < depth; k += kPairSteps, to += kPairSteps * kPairCols) {
    Dwords tile[kPairCols] = {};
    for (int64_t j = 0; j < cols; j++) tile[j] = along(from + j * stride + k, depth - k);
    transpose(tile);
    memcpy(to, tile, sizeof tile);
  }
}

/// Rows of a matrix as rows of `depth` pairs, from step k0 on; row(i) is row i of `rows`, `k` steps long.
template <class Row> inline void packPairsAlong(pair* to, int64_t stride, int64_t rows, int64_t k0, int64_t depth, int64_t k, Row row) {
  const int64_t whole = (k - k0) / 2 < depth ? (k - k0) / 2 : depth;
  for (int64_t i = 0; i < rows; i++, to += stride) {
    const bf16* from = row(i) + k0;
    memcpy(to, from, whole * sizeof(pair));
    if (whole < depth) to[whole] = {from[2 * whole].bits};
  }
}

/// Rows that are asked for before they are read: the pieces are too short, and lie too far apart, for the CPU to foresee them.
inline constexpr int64_t kAhead = 16;

/// Panels of `depth` pairs of rows, each kPairCols wide, `panel` and `step` pairs apart; row(k) is row k of the matrix, which
/// has `k` of them. Columns beyond `cols` are zero up to a whole panel.
template <class Row>
inline void packPairsAcross(pair* to, int64_t step, int64_t panel, int64_t cols, int64_t k0, int64_t depth, int64_t k, Row row) {
  for (int64_t p = 0; p < depth; p++, to += step) {
    const int64_t even = k0 + 2 * p;
    const bf16* low = row(even);
    const bf16* high = even + 1 < k ? row(even + 1) : nullptr;
    const int64_t soon = even + kAhead + 1 < k ? even + kAhead : even;
    const bf16 *lowSoon = row(soon), *highSoon = high ? row(soon + 1) : low;
    pair* panelTo = to;
    int64_t col = 0;
    if (high)
      for (; col + 2 * kPairCols <= cols; col += 2 * kPairCols, panelTo += 2 * panel) {
        __builtin_prefetch(lowSoon + col);
        __builtin_prefetch(highSoon + col);
        interleave(panelTo, panelTo + panel, low + col, high + col);
      }
    for (; col < cols; col += kPairCols, panelTo += panel) {
      const Dwords pairs = across(low + col, high ? high + col : nullptr, cols - col);
      memcpy(panelTo, &pairs, sizeof pairs);
    }
  }
}

}  // namespace moe::MOE_ISA::gemm
